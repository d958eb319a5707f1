"""What to vary: distributions, spaces and the study file. Imports neither torch nor ray nor mlflow."""
