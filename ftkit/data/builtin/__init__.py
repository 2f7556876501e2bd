"""Data sets that come with ftkit or with Python."""
