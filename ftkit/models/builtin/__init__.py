"""Checkpoints that come with ftkit or from packages."""
