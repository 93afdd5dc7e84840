"""Several processes that train one trial together: which part each takes, and what they tell each other."""
