"""What a sweep over some pictures could look like: found by looking at data, weights and machine."""
