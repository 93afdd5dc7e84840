"""Parquet parts of a table: written whole, under a temporary name, then put in place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from sweep_runner.durable import write_atomically
from sweep_runner.results.parquet_digest import check_parquet, to_parquet
from sweep_runner.results.schemas import epoch_columns, epochs_table

if TYPE_CHECKING:
    from sweep_runner.results.events import EpochReported

PART_ROWS = 50_000
_LAST_ROW = b"last_row"


def write_part(path: Path, table: pa.Table) -> None:
    """Writes one Parquet file so that a reader sees the old one or the new one.

    Raises:
        OSError: it could not be written; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_parquet(table))


def part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


def part_files(folder: Path) -> list[Path]:
    """The parts of a table of one sweep, in their order; none when there is no such folder."""
    try:
        # Not `glob`, which takes longer, for each of hundreds of sweeps.
        return sorted(path for path in folder.iterdir() if path.name.startswith("part-") and path.suffix == ".parquet")
    except FileNotFoundError:
        return []


def evaluation_path(folder: Path, trial: int, split: str) -> Path:
    """Where the rows of one final evaluation are, in the folder of their table."""
    return folder / f"part-{trial:05d}-{split}.parquet"


def read_predictions(path: Path) -> pa.Table | None:
    """The predictions of one evaluation as they were written; None where they are not there, or damaged."""
    try:
        check_parquet(path)
        with pq.ParquetFile(path) as file:
            return file.read()
    except (OSError, pa.ArrowInvalid):
        return None


def set_aside_damaged(folder: Path) -> list[tuple[Path, Path, str]]:
    """Renames the parts of a table that cannot be read to the end, so that nobody reads or overwrites them.

    Returns:
        For each: where it was, where it is now, what is wrong with it.

    Raises:
        OSError: one could not be renamed.
    """
    found = []
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            check_parquet(path)
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                file.read()
        except (OSError, pa.ArrowException) as error:
            aside = next(
                name
                for number in itertools.count(1)
                if not (name := path.with_name(f"{path.name}.damaged-{number}")).exists()
            )
            path.rename(aside)
            found.append((path, aside, (str(error).strip() or type(error).__name__).splitlines()[0]))
    return found


class EpochParts:
    """The `epochs` table of one sweep: sealed parts of `part_rows` rows, and one open part that is rewritten.

    Thus what a flush writes does not grow with the sweep.
    """

    def __init__(self, folder: Path, sweep: str, part_rows: int = PART_ROWS) -> None:
        self._folder = folder
        self._sweep = sweep
        self._part_rows = part_rows
        self._number = 0  # of the open part
        self._open: pa.Table = epochs_table(sweep, ())
        self._columns = epoch_columns()
        self._unwritten = True  # an empty table has its columns, too

    def add(self, events: Sequence[EpochReported]) -> None:
        """Takes rows in. Writes nothing."""
        if events:
            tables = [self._open] if len(self._open) else []
            tables.append(epochs_table(self._sweep, events, self._columns))
            # A metric that is reported only now and then is null elsewhere.
            self._open = pa.concat_tables(tables, promote_options="default")
            self._unwritten = True

    def write_full(self) -> None:
        """Writes the parts that became full, unless they are on disk from an earlier run.

        Raises:
            OSError: a part could not be written; its rows are kept for the next try.
        """
        while len(self._open) >= self._part_rows:
            self._seal(self._open.slice(0, self._part_rows))
            self._number += 1
            self._open = self._open.slice(self._part_rows)

    def _seal(self, table: pa.Table) -> None:
        path = part_path(self._folder, self._number)
        last = "/".join(str(table[name][-1].cast(pa.int64()).as_py()) for name in ("trial", "epoch", "time"))
        if _last_row(path) != last:
            write_part(path, table.replace_schema_metadata({_LAST_ROW: last}))

    def write(self) -> None:
        """Writes what is not on disk yet: full parts, then the open one.

        Raises:
            OSError: it could not be written.
        """
        self.write_full()
        if self._unwritten:
            self._open = self._open.combine_chunks()  # else there would be a chunk more with every flush
            write_part(part_path(self._folder, self._number), self._open)
            self._unwritten = False

    def remove_others(self) -> None:
        """Removes parts beyond the open one, which no row of the log belongs to."""
        last = part_path(self._folder, self._number).name
        for path in self._folder.glob("part-*.parquet"):
            if path.name > last:
                path.unlink()


def _last_row(path: Path) -> str | None:
    """What a sealed part says of its last row; None for an open, damaged or missing one."""
    try:
        check_parquet(path)
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    last = metadata.get(_LAST_ROW)
    return None if last is None else last.decode()
