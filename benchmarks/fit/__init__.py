"""Planted runs: finetunings whose fault is known, by which the verdicts of `ftkit eval` are judged."""
