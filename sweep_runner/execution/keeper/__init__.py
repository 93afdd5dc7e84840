"""What decides which trial runs next and when one ends, and writes all of it down."""
