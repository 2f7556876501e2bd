"""The report of `ftkit eval`."""
