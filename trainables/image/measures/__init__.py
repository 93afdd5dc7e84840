"""What is minimised and what is measured, for one label per example and for many."""
