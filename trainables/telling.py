"""Progress messages of a check that takes long: the check sends them, a command shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from trainables.contract import Progress, no_progress


@dataclass
class _Listener:
    progress: Progress = no_progress
    number: int = 1
    total: int = 1


_listener: ContextVar[_Listener | None] = ContextVar("_listener", default=None)


@contextlib.contextmanager
def listening(progress: Progress) -> Iterator[None]:
    """Calls `progress` with what is told meanwhile."""
    before = _listener.set(_Listener(progress))
    try:
        yield
    finally:
        _listener.reset(before)


def count(number: int, total: int) -> None:
    """What is told from now on belongs to the `number`th of so many things, from 1."""
    if listener := _listener.get():
        listener.number, listener.total = number, total


def tell(what: str) -> None:
    """Before something that may take seconds: what it is, such as `trying resnet18`."""
    if listener := _listener.get():
        listener.progress(what, listener.number, listener.total)
