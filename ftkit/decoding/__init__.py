"""Token ids in, new text out."""
