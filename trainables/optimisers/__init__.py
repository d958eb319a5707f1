"""Optimisers and the arithmetic of their steps."""
