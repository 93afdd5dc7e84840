"""Orchestration of sweeps: knows Ray, Optuna and DuckDB; knows no pixels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep_runner.api import open_results
    from sweep_runner.python.start import run_sweep
    from sweep_runner.python.sweep import Sweep

__all__ = ["Sweep", "open_results", "run_sweep"]
__version__ = "0.1.0"

_PUBLIC = {
    "open_results": "sweep_runner.api",
    "run_sweep": "sweep_runner.python.start",
    "Sweep": "sweep_runner.python.sweep",
}


def __getattr__(name: str) -> Any:
    """What is public is imported when it is asked for: `sweep --help` has no use for it."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
