"""Metrics that are other people's code: of the `evaluate` library, and functions of a file."""
