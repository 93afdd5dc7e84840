"""Learning curves to judge searches by: a generated family, and curves that the runner recorded. See docs/search.md."""
