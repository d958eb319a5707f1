"""Step-adaptive training: networks pruned from one base, each for its own noise levels. No torch at import."""
