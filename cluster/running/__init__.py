"""A running cluster: wiring, data directory, supervisor, stopping."""
