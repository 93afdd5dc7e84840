"""Sizes and durations as people write them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, TypeAdapter, ValidationError, WithJsonSchema


def as_bytes(value: Any) -> int:
    """Bytes of a size such as "20GB".

    Raises:
        ValueError: it is none.
    """
    return int(_size(value))


def _size(value: Any) -> Any:
    try:
        size = TypeAdapter(ByteSize).validate_python(value)
    except ValidationError:
        size = None
    if size is None or size < 0 or isinstance(value, bool):
        raise ValueError(f'{value!r} is not a size: give bytes, or a number with a unit such as "20GB" or "500MiB"')
    return int(size)


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]
"""A number of bytes, also written as "20GB" or "500MiB"."""


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_PARTS = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")


def _duration(value: Any) -> float:
    seconds = math.nan
    if isinstance(value, str):
        parts = _PARTS.fullmatch(value.replace(" ", "").replace("min", "m").lower())
        if parts is not None and any(parts.groups()):
            seconds = sum(float(number) * _UNITS[unit] for unit, number in parts.groupdict().items() if number)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if not 0 < seconds < math.inf:
        raise ValueError(
            f'{value!r} is not a duration: give hours, minutes and seconds such as "2h", "90m" or "1h30m", or seconds'
        )
    return seconds


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]
"""Seconds, also written as "2h", "90m" or "1h30m"."""
