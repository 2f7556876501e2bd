"""Numbers and strings in, numbers with intervals out. Knows no model, no tokenizer, no file."""
