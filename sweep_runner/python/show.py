"""How a running sweep is shown: one block of HTML that changes in place in a notebook, lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from html import escape
from types import TracebackType
from typing import Any, Protocol, Self

_LINE_EVERY_S = 10.0
_STYLE = "font-family:monospace;font-size:90%;line-height:1.4"
_CELL = "padding:0 1em 0 0;text-align:left;white-space:nowrap;max-width:40em;overflow:hidden;text-overflow:ellipsis"


class Screen(Protocol):
    """Shows the events of a sweep."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, event: Mapping[str, Any]) -> None: ...


def screen(quiet: bool) -> Screen:
    """The screen for where this runs.

    Args:
        quiet: warnings only.
    """
    if not quiet and _in_notebook():
        return Notebook()
    return Lines(quiet)


class Lines:
    """For scripts and consoles: notes as they come, progress every ten seconds, on standard error."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "warning":
            print(f"warning: {event['text']}", file=sys.stderr)
        elif kind == "note" and not self._quiet:
            print(event["text"], file=sys.stderr)
        elif kind == "progress" and not self._quiet and time.monotonic() - self._shown >= _LINE_EVERY_S:
            self._shown = time.monotonic()
            parts = (event[name] for name in ("done", "best", "states", "times"))
            print("; ".join(part for part in parts if part), file=sys.stderr)


class Notebook:
    """For Jupyter: one output that is replaced as a whole, so that nothing flickers or scrolls."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._step = "starting"
        self._progress: Mapping[str, Any] | None = None
        self._handle: Any = None

    def __enter__(self) -> Self:
        from IPython.display import HTML, display

        self._handle = display(HTML(self.page()), display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._step = "" if kind is None else "stopped" if issubclass(kind, KeyboardInterrupt) else "failed"
        self._update()

    def show(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "note":
            self._notes.append(event["text"])
        elif kind == "warning":
            self._warnings.append(event["text"])
        elif kind == "step":
            self._step = event["text"]
        elif kind == "progress":
            self._progress, self._step = event, ""
        self._update()

    def _update(self) -> None:
        from IPython.display import HTML

        if self._handle is not None:
            self._handle.update(HTML(self.page()))

    def page(self) -> str:
        """All that there is to see, as HTML."""
        parts = []
        if self._progress is not None:
            head, states = self._progress, self._progress["states"]
            parts.append(f"<b>{escape(head['name'])}</b> {escape(head['done'])}, {escape(head['times'])}")
            parts += [escape(text) for text in (head["best"], states) if text]
            if head["alike"]:
                parts.append(f"<span style='opacity:.7'>all trials: {escape(head['alike'])}</span>")
            if head["rows"]:
                parts.append(table(head["columns"], head["rows"]))
        if self._step:
            parts.append(f"{escape(self._step)} …")
        parts += [f"<span style='color:#b35900'>warning: {escape(text)}</span>" for text in self._warnings]
        if self._notes:
            notes = "<br>".join(map(escape, self._notes))
            parts.append(f"<details><summary>what was found</summary>{notes}</details>")
        return f"<div style='{_STYLE}' role='status'>{'<br>'.join(parts)}</div>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML; cells are text."""
    head = "".join(f"<th style='{_CELL}'>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td style={_CELL!r}>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table style='border-collapse:collapse'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _in_notebook() -> bool:
    """Whether output goes to a front end that replaces it in place: a kernel, not IPython in a terminal."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
