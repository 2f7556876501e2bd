"""Faster ways to compute the same, each proven on the model at hand."""
