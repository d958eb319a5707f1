"""Scoring weights: images, distances, EMA sweeps, cost."""
