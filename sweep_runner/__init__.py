"""Orchestration of sweeps: knows Ray, Optuna and DuckDB; knows no pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep_runner.api import open_results

__all__ = ["open_results"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`open_results` is imported when it is asked for: `sweep --help` has no use for it."""
    if name == "open_results":
        from sweep_runner.api import open_results

        return open_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
