"""How single values of the data section may be written, and what they become."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

YEARS = tuple(str(year) for year in range(2007, 2013))


def absolute(value: Any) -> Any:
    """`~` and `$VARIABLES` filled in; absolute, because trials run in other working directories.

    Raises:
        ValueError: a variable is not set, or the path is empty.
    """
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.path.expandvars(os.fspath(value))
    if unset := re.search(r"\$(\w+|\{\w+\})", text):
        raise ValueError(f"{value}: the environment variable {unset.group()} is not set")
    if not text.strip():
        raise ValueError("the path is empty")
    # Unlike Path.resolve, abspath keeps symbolic links. Text, because JSON validation takes no Path.
    return os.path.abspath(Path(text).expanduser())  # noqa: PTH100


def names(value: Any) -> Any:
    """Class names that YAML read as numbers, as text; a single name as a list of one."""
    if isinstance(value, str | int):
        value = [value]
    return [str(name) for name in value] if isinstance(value, list | tuple) else value


def by_name(value: Any) -> Any:
    """A mapping of class names, of which YAML read some as numbers, as text; null as none."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return value
    return {str(name): str(new) if isinstance(new, int) else new for name, new in value.items()}


def bands(value: Any) -> Any:
    """`data.bands` as a tuple of one or three band numbers.

    Raises:
        ValueError: other numbers, or another count of them.
    """
    numbers = [value] if isinstance(value, int) and not isinstance(value, bool) else value
    if numbers is None:
        return None
    whole = isinstance(numbers, list | tuple) and all(type(number) is int and number >= 1 for number in numbers)
    if not whole or len(numbers) not in (1, 3):
        raise ValueError(f"{value!r}: name three bands (red, green, blue) or one (grey), counted from 1: [3, 2, 1]")
    return tuple(numbers)


def value_range(value: Any) -> Any:
    """`data.value_range` as (low, high), or as its word.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str) and value in ("auto", "picture"):
        return value
    numbers = isinstance(value, list | tuple) and all(type(number) in (int, float) for number in value)
    if not numbers or len(value) != 2 or not value[0] < value[1]:
        raise ValueError(f"{value!r}: give [low, high] with low < high, such as [0, 4095], or auto, or picture")
    return tuple(map(float, value))


def year(value: Any) -> Any:
    """A year of PASCAL VOC as text.

    Raises:
        ValueError: VOC has no such year.
    """
    if value is None or str(value) in YEARS:
        return None if value is None else str(value)
    raise ValueError(f"{value!r}: VOC has the years {YEARS[0]} to {YEARS[-1]}")


def origin(value: Any) -> Any:
    """`"0"` from a command line is the number."""
    return int(value) if isinstance(value, str) and value in ("0", "1") else value


AbsolutePath = Annotated[Path, BeforeValidator(absolute)]
