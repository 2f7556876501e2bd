"""The text of a recipe: places, scalars, overrides."""
