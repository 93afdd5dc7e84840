"""A closer look at a data set's pictures: what the net will see, what is odd among them, which labels to doubt."""
