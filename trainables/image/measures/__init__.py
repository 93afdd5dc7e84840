"""What is minimised and what is measured, for one label an example and for many."""
