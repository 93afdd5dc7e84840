"""Tables of labels, whatever wrote them: found, read, and understood column by column."""
