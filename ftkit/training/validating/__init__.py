"""What is scored while a model trains: which validation rows, and the probe."""
