"""Step-adaptive training as a row of plain runs: the base, then one expert per group of noise levels; and sampling with them all."""
