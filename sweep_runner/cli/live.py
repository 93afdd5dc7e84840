"""What a person sees while a sweep runs: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweep_runner.cli.common import Out, console
from sweep_runner.cli.nodes_view import node_lines
from sweep_runner.cli.tables import printable
from sweep_runner.execution.driver.progress import Progress, fitting, num_ended, progress_of
from sweep_runner.results.display import counted, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from sweep_runner.execution.cluster.preflight import NodeReport
    from sweep_runner.execution.keeper.keeper import Keeper
    from sweep_runner.execution.ray_runtime.session import RaySession
    from sweep_runner.results.state import SweepState
    from trainables.contract import Preparation

_REFRESH_S = 0.5
_LINE_EVERY_S = 10.0
_LEAST_NAME = 8  # characters of the sweep's name, however narrow the terminal


class View:
    """An `Observer` of a sweep that shows it on stderr.

    Args:
        out: how much is wanted.
        name: of the sweep.
        num_trials: planned.
        num_epochs: of a trial, when they all have as many.
    """

    def __init__(self, out: Out, name: str, num_trials: int, num_epochs: int | None) -> None:
        self._out = out
        self._name = name
        self._num_trials = num_trials
        self._num_epochs = num_epochs
        self._console = console()
        self._is_terminal = self._console.is_terminal and not out.quiet
        self._live: Live | None = None
        self._began = self._shown = time.monotonic()
        self._ended_before: int | None = None
        self._reported: set[int] = set()
        self._dashboard = ""
        self._hosts: set[str] = set()
        self._step = ""
        self._importing: threading.Thread | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """While it is open, the live table has the terminal's last lines."""
        if not self._is_terminal:
            yield
            return
        from rich.live import Live

        with Live("", console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    # The observer -----------------------------------------------------------------------------------------

    def preparing(self, what: str, done: int, total: int) -> None:
        finished = done >= total
        if self._live is not None:
            from rich.progress_bar import ProgressBar
            from rich.table import Table

            row = Table.grid(padding=(0, 1))
            row.add_row(what, ProgressBar(total=max(total, 1), completed=done, width=40), f"{done:,}/{total:,}")
            self._update(row, at_once=finished)
        elif finished or time.monotonic() - self._shown > _LINE_EVERY_S:
            self._shown = time.monotonic()
            self._say(f"{what}: {done:,}/{total:,}")

    def prepared(self, preparation: Preparation) -> None:
        for label, text in preparation.summary.items():
            self._say(f"{label}: {text}")
        for warning in preparation.warnings:
            self._warn(warning)
        self._show_step("starting Ray")

    def looked_over(self, reports: Sequence[NodeReport]) -> None:
        for line in node_lines(reports):
            self._say(line)

    def started(self, session: RaySession, max_concurrent: int) -> None:
        if session.dashboard_url:
            self._dashboard = session.dashboard_url
            token = f" (asks once for the token in {short_path(session.token_file)})" if session.token_file else ""
            self._say(f"Ray dashboard: {session.dashboard_url}{token}")
        elif session.lacks_dashboard:
            self._warn(
                "Ray's dashboard did not start in time: the sweep runs without it. The machine may be overloaded; "
                "RAY_DASHBOARD_STARTUP_TIMEOUT_S=180 waits longer (default: 60 seconds)"
            )
        at_a_time = f"{max_concurrent} trial{'s' if max_concurrent > 1 else ''} at a time"
        trials = counted(self._num_trials, "trial")
        self._say(f"running {self._name}: {trials}, {at_a_time}, on {resources_text(session)}")
        self._began = time.monotonic()

    def tick(self, keeper: Keeper, state: SweepState) -> None:
        while keeper.news:
            self._warn(keeper.news.popleft())
        if self._ended_before is None:
            self._ended_before = num_ended(state)
            self._reported = {number for number, trial in state.trials.items() if trial.ended is not None}
        if self._out.verbose:
            self._report_ended(state)
        if self._live is not None:
            if time.monotonic() - self._shown >= _REFRESH_S:
                self._update(self._table(keeper, state), at_once=True)
        elif time.monotonic() - max(self._shown, self._began) >= _LINE_EVERY_S:
            self._shown = time.monotonic()
            self._say(self._progress(keeper, state).line)

    def stopping(self) -> None:
        self._say("stopping: ending the running trials (Ctrl-C again quits at once)", style="yellow")

    def left(self, text: str) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._out.say(text, style="yellow")

    def noted(self, text: str) -> None:
        self._say(text)

    def warned(self, text: str) -> None:
        self._warn(text)

    def searched(self) -> None:
        self._show_step("search ended")

    def finishing(self, what: str) -> None:
        self._import_report()
        if self._live is None:
            self._say(what)
        self._show_step(what)

    def _import_report(self) -> None:
        """The report is next; what it needs is imported while the best model is evaluated elsewhere."""
        from sweep_runner.report.page import import_ahead

        if self._importing is None:
            self._importing = threading.Thread(target=import_ahead, name="import report", daemon=True)
            self._importing.start()

    # What it looks like -----------------------------------------------------------------------------------

    def _say(self, text: str, *, style: str = "") -> None:
        """A line above the live table; through its console, because another one's would be written into the table."""
        if self._live is None:
            self._out.say(text, style=style)
        else:
            self._console.print(printable(text), style=style or None, soft_wrap=True)

    def _warn(self, text: str) -> None:
        if self._live is None:
            self._out.warn(text)
        else:
            self._say(f"warning: {text}", style="yellow")

    def _show_step(self, text: str) -> None:
        if self._live is not None:
            self._update(f"{text} …", at_once=True)

    def _update(self, renderable: RenderableType, at_once: bool = False) -> None:
        if self._live is not None and (at_once or time.monotonic() - self._shown >= _REFRESH_S / 2):
            self._shown = time.monotonic()
            self._live.update(renderable, refresh=True)

    def _report_ended(self, state: SweepState) -> None:
        for number in sorted(state.trials.keys() - self._reported):
            trial = state.trials[number]
            if trial.ended is None:
                continue
            self._reported.add(number)
            value = "" if trial.best_value is None else f" {state.objective.metric} {trial.best_value:.4f}"
            self._say(f"trial {number}: {trial.state}{value} {trial.reason}".rstrip())

    def _progress(self, keeper: Keeper, state: SweepState) -> Progress:
        self._hosts |= {state.trials[number].host for number in keeper.live if number in state.trials} - {""}
        elapsed_s = time.monotonic() - self._began
        return progress_of(
            keeper, state, self._num_trials, self._num_epochs, elapsed_s, self._ended_before or 0, len(self._hosts) > 1
        )

    def _table(self, keeper: Keeper, state: SweepState) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        progress, width = self._progress(keeper, state), self._console.width
        head = Text()
        head.append(
            shortened(progress.name, max(_LEAST_NAME, width - len(progress.done) - len(progress.times) - 4)), "bold"
        )
        head.append(f"  {progress.done}  {progress.times}")
        lines = [head, *(Text(shortened(text, width)) for text in (progress.best, progress.states) if text)]
        if progress.alike:
            lines.append(Text(shortened(f"all trials: {progress.alike}", width), style="dim"))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        columns, rows = fitting(progress.columns, progress.rows, width, progress.brief)
        for column in columns:
            left = column in ("name", "host") or column is columns[-1]  # the params
            table.add_column(column, no_wrap=True, header_style="dim", justify="left" if left else "right")
        for row in rows:
            table.add_row(*map(Text, row))
        hint = f"dashboard {self._dashboard}   " if self._dashboard else ""
        return Group(*lines, table, Text(shortened(f"{hint}Ctrl-C stops it; it can be resumed", width), style="dim"))


def resources_text(session: RaySession) -> str:
    """The cluster's CPUs and GPUs in words."""
    gpus = f" and {session.gpus:g} GPU{'s' if session.gpus > 1 else ''}" if session.gpus else ""
    nodes = f" of {len(session.nodes)} nodes" if len(session.nodes) > 1 else ""
    return f"{session.cpus:g} CPU{'' if session.cpus == 1 else 's'}{gpus}{nodes}"


def short_path(path: Path) -> str:
    """A path with `~` for the home directory."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - `Path.home` raises where there is none
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
