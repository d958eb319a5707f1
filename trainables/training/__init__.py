"""The training loop and what steps beside it."""
