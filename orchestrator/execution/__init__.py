"""Runs studies: Ray Tune, trials, warm worker groups, EMA sweeps."""
