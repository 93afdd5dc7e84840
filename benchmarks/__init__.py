"""Speed, measured against peers that run in the same call: one script a figure, `python -m benchmarks` for all."""
