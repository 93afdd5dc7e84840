"""Runs trials on Ray: the keeper that records, the Tune adapter that it works through, the workers."""
