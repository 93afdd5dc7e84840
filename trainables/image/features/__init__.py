"""Features of a frozen backbone: computed once, shared by every head-only trial of the node."""
