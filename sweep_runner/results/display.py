"""How figures and params are shown to people: few digits, what all share said once, only as much as fits.

The one place for it: the live table, `top`, `show`, `compare`, the report and the app use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.quantities import size_text

BASELINE = "◆"
"""Before the name of a baseline, in every table; a star is what a user gives a trial."""
_SEPARATOR = " · "


def few_digits(value: Any) -> str:
    """A value as text: a float with four significant digits, None as nothing."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def from_here(path: Path) -> str:
    """A path as a user in this folder would type it: relative where it is below, else as it is."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def counted(number: int, noun: str) -> str:
    """`1 trial`, `1,200 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def with_unit(name: str, value: Any) -> str:
    """A figure as text, with the unit that its name ends with: `1.13 GB`, `53.4 s`; whole numbers as `331,530`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return few_digits(value)
    if name.endswith("_bytes"):
        return size_text(value)
    text = f"{value:,}" if isinstance(value, int) else few_digits(value)
    return text + next((f" {unit}" for unit in ("ms", "s") if name.endswith(f"_{unit}")), "")


def column_texts(cells: Sequence[Any]) -> list[str]:
    """The cells of one column: floats of one size get as many decimals, so that they can be compared at a glance."""
    sizes = [abs(cell) for cell in cells if isinstance(cell, float) and cell]
    decimals = _decimals(min(sizes), max(sizes)) if sizes else None
    if decimals is not None:
        needed = (len(f"{size:.{decimals}f}".rstrip("0").partition(".")[2]) for size in sizes)
        decimals = max(1, *needed) if len(sizes) > 1 else max(1, next(needed))
    return [
        f"{cell:.{decimals}f}" if decimals is not None and isinstance(cell, float) else few_digits(cell)
        for cell in cells
    ]


def _decimals(least: float, most: float) -> int | None:
    """How many suit values of these sizes; None: they are too far apart, or too small or large, for any."""
    if least >= 1e-3 and most < 1e3:
        return 4
    return 6 if least >= 1e-5 and most < 10 else None  # learning rates: three digits of 1e-3 and of 0.1


def in_words(params: Mapping[str, Any]) -> str:
    """Params in one line: `optimizer adam, lr 0.00123`."""
    return ", ".join(f"{name} {few_digits(value)}" for name, value in params.items())


def names_in_brief(names: Sequence[str]) -> str:
    """A header for cells of `in_brief`."""
    return _SEPARATOR.join(names)


def in_brief(params: Mapping[str, Any], names: Sequence[str]) -> str:
    """The values of these params alone, with a dash for what a trial lacks: `adam · – · 0.00123`."""
    return _SEPARATOR.join(few_digits(params[name]) if name in params else "–" for name in names)


def shared(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The params that are the same in all rows, which need no column; none of a single row.

    Args:
        names: to look at.
        rows: the params of each trial.
    """
    if len(rows) < 2:
        return {}
    first = rows[0]
    return {name: first[name] for name in names if all(name in row and row[name] == first.get(name) for row in rows)}


def shortened(text: str, width: int) -> str:
    """A text of at most this many characters, with an ellipsis where it was cut."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…" if width > 0 else ""


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
