"""One model of several checkpoints."""
