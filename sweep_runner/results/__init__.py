"""What sweeps leave on disk: every path, the durable log, the tables, the queries."""
