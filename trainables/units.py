"""Sizes as people write them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, TypeAdapter, ValidationError, WithJsonSchema


def _size(value: Any) -> Any:
    try:
        size = TypeAdapter(ByteSize).validate_python(value)
    except ValidationError:
        size = None
    if size is None or size < 0 or isinstance(value, bool):
        raise ValueError(f'{value!r} is no size: give bytes, or a number with a unit such as "20GB" or "500MiB"')
    return int(size)


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]
"""A number of bytes, also written as "20GB" or "500MiB"."""
