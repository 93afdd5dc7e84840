"""Deciding: what is tried next (samplers), what is stopped early (pruners), and the study that remembers it."""
