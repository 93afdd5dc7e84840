"""The names of labels that a table gives as numbers or codes."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainables.errors import DataError
from trainables.image.datasets.tables.text import decoded

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

LINE_FILES = ("classes.txt", "class_names.txt", "synsets.txt", "labels.txt", "categories.txt", "names.txt")
_MOST_BYTES = 4 << 20
_MOST_FILES = 20


def find_class_names(tree: Tree, folders: Sequence[str], labels: Sequence[str]) -> tuple[str, Mapping[str, str]] | None:
    """A file beside the table that names its label numbers, and the names by label; None: there is none that fits.

    Args:
        tree: what lies below the root.
        folders: where to look, relative to root, the nearest first.
        labels: as they are in the table.
    """
    numbers = all(re.fullmatch(r"\d+", label) for label in labels)
    if not labels or (not numbers and not all(label.startswith("/m/") for label in labels)):
        return None
    for folder in folders:
        files = tree.folders[folder].files if folder in tree.folders else ()
        likely = [name for name in LINE_FILES if name in files]
        likely += [name for name in files if name.startswith("class-descriptions") and name.endswith(".csv")]
        likely += [name for name in files if name.endswith(".json")]
        for name in likely[:_MOST_FILES]:
            path = tree.folders[folder].at(name)
            if not 0 < tree.path(path).stat().st_size <= _MOST_BYTES:
                continue
            try:
                return path, read_class_names(tree, path, labels)
            except DataError:
                continue  # a file of something else, which nobody said were names
    return None


def read_class_names(tree: Tree, path: str, labels: Sequence[str]) -> Mapping[str, str]:
    """The names of labels, by label.

    Args:
        tree: what lies below the root.
        path: a file with a name per line, a label and its name per line, or a JSON object or list; relative to root.
        labels: as they are in the table.

    Raises:
        DataError: it cannot be read, or has no name for a label.
    """
    try:
        text, _ = decoded(tree.path(path).read_bytes(), path)
    except OSError as error:
        raise DataError(f"data.table.class_names: {tree.path(path)} cannot be read: {error.strerror}") from error
    candidates = _of_json(text) if path.endswith(".json") else _of_lines(text)
    for names in candidates:
        if set(labels) <= set(names):
            if len({names[label] for label in labels}) < len(set(labels)):
                raise DataError(f"data.table.class_names: {path} gives two labels the same name")
            return names
    best = max(candidates, key=lambda names: len(set(labels) & set(names)), default={})
    missing = next(label for label in labels if label not in best)
    raise DataError(f"data.table.class_names: {path} has no name for the label {missing!r}")


def _of_json(text: str) -> list[dict[str, str]]:
    try:
        content: Any = json.loads(text)
    except json.JSONDecodeError:
        return []
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return [_counted(content, 0)]
    if not isinstance(content, Mapping) or not content:
        return []
    if all(isinstance(value, str) for value in content.values()):
        return [dict(content), {value: key for key, value in content.items()}]
    if all(isinstance(value, int) for value in content.values()):  # name → number
        return [{str(value): str(key) for key, value in content.items()}]
    return []


def _of_lines(text: str) -> list[dict[str, str]]:
    """By the label that stands first in each line, else counted from 0, else from 1."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = []
    for rows in (list(csv.reader(lines)), [line.split(None, 1) for line in lines]):
        if rows and all(len(row) == 2 for row in rows) and len({row[0] for row in rows}) == len(rows):
            found += [{row[0].strip(): row[1].strip() for row in rows}]
    if found and all(key.isdigit() for key in found[-1]):
        return found
    return [*found, _counted(lines, 0), _counted(lines, 1)]


def _counted(names: Sequence[str], start: int) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names, start)}
