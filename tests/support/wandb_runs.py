"""Offline runs of Weights & Biases, read with its own record types: its tools send such files, and show none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 32 * 1024
_HEADER_BYTES = 7  # checksum (4), length (2), kind (1): the framing of LevelDB's log
_FILE_HEADER_BYTES = 7


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        config: what it was started with.
        rows: what it has logged, a mapping per step.
        exit_code: with which it ended; None: it did not.
    """

    config: dict[str, Any]
    rows: list[dict[str, Any]]
    exit_code: int | None


def read_run(file: Path) -> Run:
    """The run in an offline file."""
    from wandb.proto.wandb_internal_pb2 import Record

    config: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    exit_code: int | None = None
    for content in _records(file.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            rows.append(_values(record.history.item))
        elif kind == "run":
            config |= _values(record.run.config.update)
        elif kind == "exit":
            exit_code = record.exit.exit_code
    return Run(config, rows, exit_code)


def _values(items: Iterable[Any]) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    place, parts = _FILE_HEADER_BYTES, b""
    while place + _HEADER_BYTES <= len(data):
        left = _BLOCK_BYTES - place % _BLOCK_BYTES
        if left < _HEADER_BYTES:
            place += left  # the rest of a block is padding
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        kind = data[place + 6]  # 1: whole, 2: first part, 3: middle, 4: last
        parts += data[place + _HEADER_BYTES : place + _HEADER_BYTES + length]
        place += _HEADER_BYTES + length
        if kind in (1, 4):
            yield parts
            parts = b""
