"""Comparisons of variants that were trained on the same seeds: from scores to sentences. Knows neither MLflow nor pages."""
