"""A sweep file read and checked; on a terminal with a word when that takes longer than one would wait in silence."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sweep_runner.cli.common import Out

if TYPE_CHECKING:
    from sweep_runner.spec.plan import Plan

_AFTER_S = 1.0


def checked_plan(source: Any, overrides: tuple[str, ...], out: Out, **options: Any) -> Plan:
    """`load_plan`, told about on a terminal: which model is tried, and of how many settings."""
    from sweep_runner.spec.check import load_plan
    from trainables.telling import listening

    with Waiting(out) as waiting, listening(waiting.told):
        return load_plan(source, overrides, **options)


class Waiting:
    """Says what is being done when it has been done for a second; after that each new thing, once a second at most."""

    def __init__(self, out: Out, after_s: float = _AFTER_S) -> None:
        self._out = out
        self._after_s = after_s
        self._news = ""
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Waiting:
        if sys.stderr.isatty() and not self._out.quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def told(self, what: str, done: int, total: int) -> None:
        """A `Progress`."""
        self._news = f"{what}: {done:,} of {total:,} combinations" if total > 1 else what

    def _run(self) -> None:
        said = ""
        with self._changed:
            while not self._changed.wait_for(lambda: self._over, self._after_s):
                if self._news != said:
                    said = self._news
                    self._out.say(said, style="dim")
