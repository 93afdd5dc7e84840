"""What a check of a sweep file has found so far."""

from __future__ import annotations

from sweep_runner.errors import Problem
from sweep_runner.spec.document import KeyPath, Places


class Findings:
    """Problems and warnings of one check, each problem at its line.

    Args:
        places: where each key of the sweep file stands.

    Attributes:
        problems: what keeps the sweep from running.
        warnings: what is left out, changed or unlikely to be meant.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def problem(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Adds a problem at the line of a key."""
        self.problems.append(Problem(message, where=self.places.where(path), hint=hint))
