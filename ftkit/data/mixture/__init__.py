"""Rows of several sources in one split: found, joined, told apart again."""
