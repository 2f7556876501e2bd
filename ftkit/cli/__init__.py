"""The command line: one file a command, a plain function beneath each."""
