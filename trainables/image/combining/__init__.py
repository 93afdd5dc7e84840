"""Makes one model of several checkpoints: averaged weights, and which checkpoints can be averaged."""
