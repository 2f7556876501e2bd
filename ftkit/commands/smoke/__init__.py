"""All that only the smoke test needs."""
