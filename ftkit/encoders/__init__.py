"""An encoder run once and stored, and a head fitted on it."""
