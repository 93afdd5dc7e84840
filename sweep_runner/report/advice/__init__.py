"""What to do next, from what a sweep has recorded: rules, each with the evidence on which it speaks."""
