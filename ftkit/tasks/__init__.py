"""What comes out: a folder a task."""

TASKS = ("classification", "causal_lm", "seq2seq")
"""Names of the tasks, the usual ones first."""
