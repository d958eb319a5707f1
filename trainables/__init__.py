"""What one trial computes: recipe, noise levels, losses, networks, training, EMA, sampling and metrics.

Importing this package imports no torch; the parts that compute on tensors do it where they are used.
"""
