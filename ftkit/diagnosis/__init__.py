"""Measurements of a run in, a verdict with its evidence out; knows no model and no file."""
