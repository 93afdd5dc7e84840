"""Examples that the pages under docs/ explain, and that the tests run."""
