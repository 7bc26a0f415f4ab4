"""Arms x seeds on one plan, and what their difference says."""
