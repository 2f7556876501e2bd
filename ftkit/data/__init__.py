"""Data sets: read, checked, split, tokenized."""
