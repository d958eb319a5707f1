"""Ray, started here or joined; jobs, metrics, addresses."""
