"""Further formats of a model package: a module for each, and what holds them against the float model."""
