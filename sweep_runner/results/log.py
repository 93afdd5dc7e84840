"""The durable log of a sweep: one event per line, on disk before `append` returns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweep_runner.durable import AppendFile, cut_torn_tail
from sweep_runner.errors import SweepError
from sweep_runner.results.events import Event, from_json, to_json
from trainables.digests import DigestMismatch, is_sealed, sealed
from trainables.reports import readable


class EventLog:
    """The log, open for its one writer. Open it under the sweep's lock."""

    def __init__(self, file: AppendFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the log, or creates it; a line that a crash left unfinished is cut off."""
        cut_torn_tail(path)
        return cls(AppendFile(path))

    def append(self, event: Event) -> None:
        """Appends one event. As `append_many`."""
        self.append_many((event,))

    def append_many(self, events: Iterable[Event]) -> None:
        """Appends events, all or none, with one wait for the disk.

        Raises:
            SweepError: they could not be written; the log is as it was.
        """
        try:
            self._file.append_many([encode(event) for event in events])
        except OSError as error:
            raise SweepError(
                f"{self._file.path}: cannot be written ({error.strerror or error}); what was recorded before is safe. "
                f"Free disk space or repair the disk, then resume the sweep"
            ) from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode(event: Event) -> bytes:
    """The event as one line of the log, with its checksum. NaN and infinities stay as Python's JSON writes them."""
    return sealed(json.dumps(to_json(event), separators=(",", ":")).encode()) + b"\n"


def decode(line: bytes) -> Event:
    """The event of one whole line of the log.

    Raises:
        ValueError: the line was changed, or holds no event.
    """
    is_sealed(line)
    return _parsed(line)


def _parsed(line: bytes) -> Event:
    try:
        values = json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python takes, of an earlier version
        values = json.loads(line, parse_int=_whole_or_float)
    try:
        return from_json(values if b"\\ud" not in line else _with_readable_text(values))
    except (AttributeError, TypeError) as error:
        raise ValueError(str(error)) from error


def _whole_or_float(digits: str) -> float:
    return int(digits) if len(digits) < 1_000 else float(digits)


def _with_readable_text(value: Any) -> Any:
    """Text without surrogates, which earlier versions took and no table can hold."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, list):
        return [_with_readable_text(item) for item in value]
    if isinstance(value, dict):
        return {readable(name): _with_readable_text(item) for name, item in value.items()}
    return value


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log, oldest first; none when there is no log yet.

    May be called while another process writes: a last line that is not whole yet is left out.

    Raises:
        SweepError: a line is damaged; names it.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        checked = False
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                has_checksum = is_sealed(line)
                if checked and not has_checksum:
                    raise DigestMismatch("its checksum is missing")
                checked = has_checksum  # once one has, all that follow do: those of earlier versions come first
                yield _parsed(line)
            except ValueError as error:
                raise SweepError(
                    f"{path}:{number}: this line of the sweep's log is damaged ({error}). Restore the file from a "
                    f"backup, or remove the line: its record is then lost"
                ) from error
