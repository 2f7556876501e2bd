"""What is done by each command: plain functions that return values, the Python API."""
