"""What a trial prints: into its own log, and line by line to the worker's stream."""

from __future__ import annotations

import io
from typing import TextIO

from trainables.reports import readable


class Tee(io.TextIOBase):
    """Writes to the trial's log, and line by line with the trial's label to the worker's own stream.

    The latter is what Ray's dashboard shows of a worker, which runs one trial after another. Of a progress bar, which
    writes over its line again and again, it gets what stands there at the end.
    """

    def __init__(self, log: TextIO, stream: TextIO, label: str) -> None:
        self._log = log
        self._stream = stream
        self._label = label
        self._pieces: list[str] = []  # of the line that has not ended

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text = readable(text)
        self._log.write(text)
        *ended, rest = text.split("\n")
        for end in ended:
            line = "".join([*self._pieces, end])
            self._pieces.clear()
            self._stream.write(f"{self._label} {_shown(line)}\n")
        if "\r" in rest:
            # What is overwritten is let go: kept, a bar would cost the square of its updates.
            line = "".join([*self._pieces, rest])
            self._pieces = [_shown(line), "\r" if line.endswith("\r") else ""]
        elif rest:
            self._pieces.append(rest)
        return len(text)

    def flush(self) -> None:
        self._log.flush()
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


def _shown(line: str) -> str:
    """What a terminal shows of a line that goes back to its start."""
    return line.rstrip("\r").rpartition("\r")[2]
