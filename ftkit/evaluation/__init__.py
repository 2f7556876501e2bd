"""What `ftkit eval` measures, whatever the task."""
