"""What was learnt: tracked results, statistics, figures and pages, from MLflow alone."""
