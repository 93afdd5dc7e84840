"""Further formats of a model package: a module for each, and what compares them with the float model."""
