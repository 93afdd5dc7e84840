"""Orchestration of sweeps: knows Ray, Optuna and DuckDB; knows no pixels."""

__version__ = "0.1.0"
