"""What `ftkit eval` measures of a run: models and splits in, Measurements out."""
