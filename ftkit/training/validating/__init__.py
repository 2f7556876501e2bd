"""Which validation rows are scored while a model trains."""
