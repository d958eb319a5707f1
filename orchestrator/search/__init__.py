"""What to try next and when to stop: Optuna, samplers, early stopping, verdicts."""
