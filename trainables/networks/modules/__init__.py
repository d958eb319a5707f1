"""Torch modules of the networks. Not imported with the settings, so that recipes load no torch."""
