"""The pages of a report: a study, each of its trials, and an index of all studies."""
