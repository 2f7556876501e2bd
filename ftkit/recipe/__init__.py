"""What the user asked for: keys, rules, defaults, and errors with their place."""
