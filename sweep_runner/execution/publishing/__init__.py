"""Which model a sweep publishes, and how it gets there."""
