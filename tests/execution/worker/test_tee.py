"""What a trial prints, in its log and in the worker's stream."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path

import pytest

from sweep_runner.execution.worker.tee import Tee


@pytest.fixture
def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


def test_lines_have_a_label_however_they_come(streams: tuple[io.StringIO, io.StringIO]) -> None:
    log, stream = streams
    tee = Tee(log, stream, "[t]")
    for text in ("one\ntw", "o", "\n", "windows\r\n", "\n", "open"):
        tee.write(text)
    assert stream.getvalue() == "[t] one\n[t] two\n[t] windows\n[t] \n"
    assert log.getvalue() == "one\ntwo\nwindows\r\n\nopen"


@pytest.mark.parametrize("update", ["\r{} %", "{} %\r"], ids=["goes back first", "goes back after"])
def test_of_a_progress_bar_the_stream_gets_the_last_state(
    streams: tuple[io.StringIO, io.StringIO], update: str
) -> None:
    tee = Tee(*streams, "[t]")
    for done in range(101):
        tee.write(update.format(done))
    tee.write("\nnext\n")
    assert streams[1].getvalue() == "[t] 100 %\n[t] next\n"


def test_a_bar_that_never_ends_keeps_only_its_line(streams: tuple[io.StringIO, io.StringIO]) -> None:
    """Not the sum of what it has shown, which would be copied at each update."""
    with Path(os.devnull).open("w") as log:
        tee = Tee(log, streams[1], "[t]")
        tracemalloc.start()
        for done in range(30_000):
            tee.write(f"\rtraining: {done:>60} of 30000")
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 100_000
