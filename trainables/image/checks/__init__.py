"""What is tried and found out before the first trial: combinations that cannot work, models, weights."""
