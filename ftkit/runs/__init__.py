"""What lies in a run directory and survives."""
