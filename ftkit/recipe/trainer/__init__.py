"""What Trainer of transformers takes, and what of it a recipe may say."""
