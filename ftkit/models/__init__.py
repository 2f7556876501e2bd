"""Checkpoints: where they lie, how they are loaded, adapted, run and saved."""
