"""Names in a message for the user: the first of many, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def few_of(names: Sequence[str], most: int = 10) -> str:
    """`a, b, c`, or `a, b and 7 more`.

    Args:
        names: one or more.
        most: how many are written out.
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
