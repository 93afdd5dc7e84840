"""Frozen-backbone features: computed once, shared by every head-only trial of the node."""
