"""task: classification, one label for each text or pair of texts."""
