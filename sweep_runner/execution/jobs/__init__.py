"""Sweeps as jobs of a Ray cluster, through its Jobs API: sent there, followed, listed, stopped."""
