"""Rows from files, a file a format."""
