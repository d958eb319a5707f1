"""Benchmarks against named peers, each as a ratio measured in one run. `python -m tests.benchmarks` runs them all."""
