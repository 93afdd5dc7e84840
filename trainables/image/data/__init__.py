"""From what a dataset lists to the examples that are trained on: divided, balanced, readable."""
