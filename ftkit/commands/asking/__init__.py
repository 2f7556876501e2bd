"""What models are asked by `ftkit generate` and `ftkit predict`, beyond one model at a time."""
