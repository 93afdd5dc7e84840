"""Result tables: laid out for the width of a terminal, tab-separated otherwise."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from sweep_runner.results.display import column_texts, few_digits

if TYPE_CHECKING:
    from rich.console import Console

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, which begin escape sequences
    "\u202a-\u202e\u2066-\u2069"  # that turn the direction of what follows
    "\ud800-\udfff]"  # bytes of names that are not UTF-8
)
_GAP = 2  # blanks between columns
_LEAST = 3  # of a header that is broken inside its words
_FOLDED = 14  # letters of a word that is broken
_WRAPPED = 48  # letters of a line of a long cell: it may rather be wrapped than another column go


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    stream: IO[str] | None = None,
    exact: bool = False,
    optional: Sequence[str] = (),
    by_row: bool = False,
) -> None:
    """Prints rows as a rich table on a terminal, as tab-separated values with a header otherwise.

    If a table is wider than the terminal, first optional columns go, then headers are broken, then cells that have
    blanks. What is still too wide is shown with one line per cell, without the empty ones.

    Args:
        columns: the header.
        rows: a sequence of values per row; None is shown as an empty cell. Columns that hold only numbers are
            aligned right.
        title: shown above on a terminal.
        stream: stdout unless given.
        exact: every digit of a float where no terminal reads; otherwise six that count.
        optional: columns that a narrow terminal does not show, the first to go first.
        by_row: each float has the digits that count, because a column holds figures of different kinds; and long words
            are rather broken than shown in another way, because the columns are to be compared.
    """
    stream = stream or sys.stdout
    rows = [list(row) for row in rows]
    if not stream.isatty():
        for row in [columns, *rows]:
            texts = (_plain(cell) if exact or not isinstance(cell, float) else f"{cell:.6g}" for cell in row)
            click.echo("\t".join(map(_one_line, texts)), file=stream)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    screen = Console(file=stream, markup=False, highlight=False, emoji=False)
    columns, kept, gone = _without(optional, columns, rows, screen.width)
    rows = list(kept)
    columns, title = [printable(column) for column in columns], printable(title)
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    shown = [[printable(few_digits(cell)) for cell in row] for row in rows] if by_row else _as_text(columns, rows)
    widths = _widths(columns, shown, screen.width, folds=by_row)
    if widths is None:
        _print_records(columns, shown, screen)
        return
    for position, column in enumerate(columns):
        cells = [row[position] for row in rows if row[position] is not None]
        numeric = bool(cells) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)
        table.add_column(
            Text(_broken(column, widths[position])),
            justify="right" if numeric else "left",
            overflow="fold",
            width=widths[position],
        )
    for line in shown:
        table.add_row(*map(Text, line))
    screen.print(table)
    if gone:
        screen.print(f"not shown on a narrow terminal: {', '.join(gone)}", style="dim")


def _without(
    optional: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Any]], screen_width: int
) -> tuple[list[str], list[list[Any]], list[str]]:
    """The table without as many optional columns as it takes to fit, and the names of those, in the table's order."""
    gone: list[str] = []
    for name in optional:
        kept = [k for k, column in enumerate(columns) if column not in gone]
        widths = _smallest(
            [_longest_word(columns[k]) for k in kept],
            [[row[k] for k in kept] for row in _as_text(columns, rows)],
            _wrapped,
        )
        if _total(widths) <= screen_width:
            break
        gone += [name] if name in columns else []
    kept = [k for k, column in enumerate(columns) if column not in gone]
    return [columns[k] for k in kept], [[row[k] for k in kept] for row in rows], [c for c in columns if c in gone]


def _print_records(columns: Sequence[str], rows: Sequence[Sequence[str]], screen: Console) -> None:
    width = max(map(len, columns))
    for number, row in enumerate(rows, start=1):
        screen.print(f"row {number} of {len(rows)}", style="bold")
        for column, cell in zip(columns, row, strict=True):
            if cell:
                screen.print(f"  {column:<{width}}  {cell}", soft_wrap=True)


def fits_terminal(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bool:
    """Whether every cell of a table fits on one line of the terminal, and no word of a header is broken."""
    widths = _smallest([_longest_word(column) for column in columns], _as_text(columns, rows), len)
    return _total(widths) <= shutil.get_terminal_size().columns


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], screen_width: int, *, folds: bool = False
) -> list[int] | None:
    """The width of each column; None when they have no room even with every cell wrapped at its blanks.

    Args:
        columns: the header.
        rows: the cells.
        screen_width: of the terminal.
        folds: whether long words may be broken before that.
    """
    headers = [_longest_word(column) for column in columns]
    broken = [min(len(column), _LEAST) for column in columns]
    # Headers broken between words; then cells wrapped at their blanks; then headers broken inside words.
    ways = [(headers, len), (headers, _longest_part), (broken, len), (broken, _longest_part)]
    for smallest, width_of in [*ways, (broken, _folded)] if folds else ways:
        widths = _smallest(smallest, rows, width_of)
        if _total(widths) <= screen_width:
            break
    else:
        return None
    wanted = _smallest([len(column) for column in columns] if width_of is len else headers, rows, len)
    left = screen_width - _total(widths)
    # What lacks least comes first: of several columns that would be wrapped one alone is.
    for position in sorted(range(len(widths)), key=lambda k: wanted[k] - widths[k]):
        more = max(0, min(left, wanted[position] - widths[position]))
        widths[position] += more
        left -= more
    return widths


def _smallest(headers: Sequence[int], rows: Sequence[Sequence[str]], width_of: Callable[[str], int]) -> list[int]:
    """Each column as wide as its header and its widest cell."""
    return [max([header, *(width_of(row[k]) for row in rows)]) for k, header in enumerate(headers)]


def _longest_word(header: str) -> int:
    return max(len(word.rstrip()) for word in _words(header))


def _longest_part(cell: str) -> int:
    return max(map(len, cell.split()), default=0)


def _folded(cell: str) -> int:
    return min(_FOLDED, _longest_part(cell))


def _wrapped(cell: str) -> int:
    return min(len(cell), max(_WRAPPED, _longest_part(cell)))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _words(column: str) -> list[str]:
    """`input_resolution` as `input_` and `resolution`; the last is empty."""
    return re.findall("[^_ ]*[_ ]?", column)


def _broken(column: str, width: int) -> str:
    """A header in lines of at most this width, broken between words."""
    lines = [""]
    for word in _words(column):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def _as_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    by_column = [_column_as_text([row[position] for row in rows]) for position in range(len(columns))]
    return [list(row) for row in zip(*by_column, strict=True)]


def _column_as_text(cells: Sequence[Any]) -> list[str]:
    return [printable(cell) for cell in column_texts(cells)]


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def printable(text: str) -> str:
    """Text for a terminal: what would steer it (names and reasons are other people's words) is written out.

    Lines and tabs stay. What is no Unicode, as in names of files that are not UTF-8, is written out, too.
    """
    return _STEERING.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _one_line(text: str) -> str:
    return text.replace("\t", " ").replace("\r", " ").replace("\n", " ")
