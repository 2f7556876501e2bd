"""task: causal_lm, a language model goes on with a text."""
