"""A witness of other logs: it cosigns what continues all that it saw before, and nothing else."""
