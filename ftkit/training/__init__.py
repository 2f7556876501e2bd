"""Training: each task tells its story top to bottom in a file of its own."""
