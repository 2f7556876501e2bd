"""Folders that are data: of splits, of classes, cloned from the hub."""
