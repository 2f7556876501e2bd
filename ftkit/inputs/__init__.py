"""What goes in: examples as tokens, and batches of them."""
