"""Losses and metrics, for one label per example and for any number."""
