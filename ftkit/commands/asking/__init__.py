"""Models that are asked otherwise than one at a time for answers: side by side, or all rows of a file for figures."""
