"""Who runs a study, where, and what was recorded. The only package that imports ray."""
