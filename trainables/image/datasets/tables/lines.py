"""Lines whose columns are separated by white space: `name number`, CelebA's lists, CUB's."""

from __future__ import annotations

from collections.abc import Sequence


def split_lines(lines: Sequence[str]) -> tuple[list[list[str]], int]:
    """Columns of the lines, and how many there are.

    All lines have the same number of words, which are the columns; or a name that may hold blanks stands first and one
    word (a number) last; or each line is one name. Lines that start with `#` are comments. A first line that is only
    the number of rows, as CelebA has it, is passed over, and column names that lack one for the files get it.
    """
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    full = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(rows) > 2 and len(rows[0]) == 1 and rows[0][0].isdigit() and len(rows[2]) > 1:
        rows, full = rows[1:], full[1:]
    if not rows:
        return [[]], 1
    counts = {len(row) for row in rows[1:]} or {len(rows[0])}
    if len(counts) == 1 and counts != {1}:
        (count,) = counts
        if len(rows[0]) == count - 1:
            rows[0] = ["", *rows[0]]
        if len(rows[0]) == count and not any('"' in row[0] for row in rows):
            return [list(column) for column in zip(*rows, strict=True)], count
    lasts = [row[-1] for row in rows]
    if all(len(row) > 1 for row in rows) and all(_is_number(last) for last in lasts[1:]):
        firsts = [line[: -len(last)].rstrip() for line, last in zip(full, lasts, strict=True)]
        return [[_unquoted(first) for first in firsts], lasts], 2
    return [[_unquoted(line) for line in full]], 1


def _is_number(word: str) -> bool:
    return word.removeprefix("-").isdigit()


def _unquoted(name: str) -> str:
    """Without the quotes that stand around a name that holds blanks, wherever its suffix is: `"my photo".jpg`."""
    return name.replace('"', "") if name.startswith('"') and name.count('"') == 2 else name
