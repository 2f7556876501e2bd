"""What comes out: a folder a task."""
