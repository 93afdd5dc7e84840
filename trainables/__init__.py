"""What one trial does. Knows torch; never imports sweep_runner, ray, optuna or duckdb."""
