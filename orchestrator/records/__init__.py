"""What outlives every process: folders, definitions, the store, locks, events, MLflow."""
