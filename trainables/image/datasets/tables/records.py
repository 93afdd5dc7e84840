"""JSON and JSON Lines that are tables: a record per picture, or labels by name as FiftyOne writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from trainables.errors import DataError

FILE, LABEL = "file", "label"
"""The columns of a JSON object that gives labels by name."""


def read_records(text: str, name: str) -> pa.Table:
    """The rows of a JSON file: an array of objects, an object a line, or an object name → label or labels.

    FiftyOne's `{"classes": [...], "labels": {name: label}}` is the last of these; its labels may be numbers of classes.

    Raises:
        DataError: it is not JSON, or of another shape.
    """
    try:
        content: Any = json.loads(text)
    except json.JSONDecodeError as whole:
        content = _lines(text, name, whole)
    if isinstance(content, Mapping):
        labels = content.get("labels", content) if set(content) <= {"classes", "labels", "info"} else content
        if not isinstance(labels, Mapping) or not labels:
            raise DataError(f"data.table: {name} is a JSON object, but not of image names and their labels")
        classes = content.get("classes") if labels is not content else None
        return _by_name(labels, classes, name)
    if not isinstance(content, list) or not content or not all(isinstance(record, Mapping) for record in content):
        raise DataError(f"data.table: {name} is JSON, but no list of records")
    return _table(content)


def _lines(text: str, name: str, whole: json.JSONDecodeError) -> list[Any]:
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            # With one line that is JSON it is JSON Lines with a mistake; else the mistake is in the whole.
            place, why = (f"line {number}", error) if records else (f"line {whole.lineno}", whole)
            raise DataError(f"data.table: {name} cannot be read: {place} is not JSON ({why.msg})") from error
    return records


def _by_name(labels: Mapping[str, Any], classes: Any, name: str) -> pa.Table:
    def named(label: Any) -> str | None:
        if isinstance(label, int) and not isinstance(label, bool) and isinstance(classes, list):
            if not 0 <= label < len(classes):
                raise DataError(f"data.table: {name} has the label {label}, but {len(classes)} classes")
            return str(classes[label])
        return _scalar(label)

    values = list(labels.values())
    if any(_is_nested(value) for value in values):
        raise DataError(f"data.table: {name} has more than labels for each image: it is not a table of labels")
    files = pa.array(list(labels), pa.string())
    if any(isinstance(value, list) for value in values):
        rows = [[named(each) for each in value] if isinstance(value, list) else [named(value)] for value in values]
        return pa.table({FILE: files, LABEL: pa.array(rows, pa.list_(pa.string()))})
    return pa.table({FILE: files, LABEL: pa.array([named(value) for value in values], pa.string())})


def _table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Columns of text; of lists where a record has one; what is deeper is written as JSON."""
    names = list(dict.fromkeys(str(key) for record in records for key in record))
    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [record.get(name) for record in records]
        flat = not any(_is_nested(value) for value in values)
        if flat and any(isinstance(value, list) for value in values):
            rows = [[_scalar(each) for each in _as_list(value)] for value in values]
            columns[name] = pa.array(rows, pa.list_(pa.string()))
        else:
            cells = [json.dumps(value) if isinstance(value, list | Mapping) else _scalar(value) for value in values]
            columns[name] = pa.array(cells, pa.string())
    return pa.table(columns)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(each, list | Mapping) for each in value)
    )


def _scalar(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
