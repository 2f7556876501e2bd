"""Trainings that a run makes once more."""
