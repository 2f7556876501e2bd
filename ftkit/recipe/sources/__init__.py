"""Several sources of examples in one recipe: the keys of each, and what goes together."""
