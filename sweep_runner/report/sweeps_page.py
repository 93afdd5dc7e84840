"""Several sweeps on one page that needs nothing else: what differs, and what came of it, on the same axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep_runner.durable import write_atomically
from sweep_runner.errors import RequestError
from sweep_runner.report import facts
from sweep_runner.report.accuracy import accuracy_of
from sweep_runner.report.charts import sweeps
from sweep_runner.report.charts.sweeps import MOST, Entry
from sweep_runner.report.comparison import significance
from sweep_runner.report.page import duration, page_environment
from sweep_runner.report.plot_data import read_curves, title_of
from sweep_runner.results.display import counted, in_words, with_unit
from sweep_runner.results.leaderboard import Leaderboard, leaderboard
from sweep_runner.results.pairing import Significance
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.tables import Warn
from sweep_runner.spec.changes import compare


def write_sweeps_page(results: ResultsPaths, names: Sequence[str], output: Path | None, warn: Warn) -> Path:
    """Writes the page.

    Args:
        results: where the sweeps are.
        names: two to six.
        output: the file; by default `compared-with-<others>.html` in the first sweep's folder.
        warn: told of what cannot be read.

    Raises:
        RequestError: a sweep is not there, or they do not compare.
    """
    content = render(results, names, warn).encode()
    file = output if output is not None else results.sweep(names[0]).comparison(names[1:])
    write_atomically(file, lambda stream: stream.write(content))
    return file


def render(results: ResultsPaths, names: Sequence[str], warn: Warn, theme: str = "") -> str:
    """The page's HTML. Every name of the user's is escaped.

    Args:
        results: where the sweeps are.
        names: two to six.
        warn: told of what cannot be read.
        theme: `light` or `dark`, for a frame of another page, which has a heading of its own; else as the reader's
            system has it.

    Raises:
        RequestError: a sweep is not there, or they do not compare.
    """
    values = collect(results, names, warn)
    return page_environment().get_template("sweeps.html.j2").render(**values, theme=theme)


def collect(results: ResultsPaths, names: Sequence[str], warn: Warn) -> dict[str, Any]:
    """Everything that the template shows."""
    if len(set(names)) < len(names) or not 1 < len(names) <= MOST:
        raise RequestError(f"{', '.join(names)}: give two to {MOST} different sweeps to compare")
    boards = [leaderboard(results, name) for name in names]
    first = boards[0]
    for board in boards[1:]:
        if (board.objective, board.mode) != (first.objective, first.mode):
            raise RequestError(
                f"{first.sweep.sweep} is ranked by {first.objective} ({first.mode}), {board.sweep.sweep} by "
                f"{board.objective} ({board.mode}): they cannot be compared on the same axes"
            )
    entries = [_entry(results, board, warn) for board in boards]
    objective, mode = first.objective, first.mode
    data = {board.sweep.values.get("data_fingerprint") for board in boards}
    return {
        "names": list(names),
        "objective": objective,
        "mode": mode,
        "same_data": len(data) == 1,
        "rows": _rows([_column(results, board, warn) for board in boards]),
        "differences": _differences(results, names),
        "verdicts": [_verdict(results, first, board, warn) for board in boards[1:]],
        "figures": [
            each
            for each in (
                sweeps.best_by_trials(entries, objective, mode),
                sweeps.best_by_minutes(entries, objective, mode),
                sweeps.best_curves(entries, objective),
                sweeps.every_trial(entries, objective),
            )
            if each is not None
        ],
        "slices": sweeps.slices(entries, objective),
        "commands": [results.sweep(name).command("report") for name in names],
    }


def _entry(results: ResultsPaths, board: Leaderboard, warn: Warn) -> Entry:
    paths = results.sweep(board.sweep.sweep)
    curves = read_curves(paths, board.ranked[:1], warn, board.objective)
    return Entry(board, facts.when_it_ran(paths, warn), curves[0] if curves else None)


def _column(results: ResultsPaths, board: Leaderboard, warn: Warn) -> dict[str, str]:
    """What is told of a sweep, label → text."""
    sweep, paths = board.sweep, results.sweep(board.sweep.sweep)
    told = {
        "state": sweep.state.lower(),
        "trials": ", ".join(f"{count} {state.lower()}" for state, count in sweep.counts.items()),
        "time": duration(sweep.values.get("duration_s")),
    }
    if not board.ranked:
        return told
    best = board.ranked[0]
    on = {split: accuracy_of(paths, best.trial, split, warn) for split in ("val", "test")}
    test = best.metrics.get(f"test_{board.objective.partition('_')[2]}")
    return {
        **told,
        "best trial": title_of(best),
        board.objective: str(best.runs) if best.runs else f"{best.value:.4f}",
        "accuracy on val": str(on["val"] or ""),
        "accuracy on test": str(on["test"] or ""),
        **({f"test_{board.objective.partition('_')[2]}": f"{test:.4f}"} if test is not None else {}),
        "params of the best": in_words(best.params),
        "parameters": with_unit("num_parameters", best.row.get("num_parameters")),
        "time of the best": duration(best.row.get("duration_s")),
    }


def _rows(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Label and texts; without what no sweep has."""
    labels = dict.fromkeys(label for column in columns for label in column)
    rows = [(label, [column.get(label) or "–" for column in columns]) for label in labels]
    return [(label, texts) for label, texts in rows if any(text != "–" for text in texts)]


def _differences(results: ResultsPaths, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The keys of the sweep files that are not the same in all sweeps, and what each has; none where one is lost."""
    specs = [facts.read_spec(results.sweep(name)) for name in names]
    if any(spec is None for spec in specs):
        return []
    files = [spec.model_dump(mode="json", exclude={"name"}) for spec in specs if spec is not None]
    keys: dict[str, list[str | None]] = {}
    for place, other in enumerate(files[1:], 1):
        for change in compare(files[0], other):
            own = keys.setdefault(".".join(change.key), [change.before] + [None] * len(files[1:]))
            own[place] = change.after or ""
    return [
        (key, [own[0] or "–", *((own[0] if v is None else v) or "–" for v in own[1:])]) for key, own in keys.items()
    ]


def _verdict(results: ResultsPaths, first: Leaderboard, other: Leaderboard, warn: Warn) -> str:
    """Whether another sweep's best model is better than the first's by more than chance."""
    if not first.ranked or not other.ranked:
        return f"{(other if first.ranked else first).sweep.sweep} has no trial with a value yet"
    pair = [(results.sweep(board.sweep.sweep), board.ranked[0]) for board in (first, other)]
    found = significance(pair[0], pair[1], warn)
    a, b = first.sweep.sweep, other.sweep.sweep
    if not isinstance(found, Significance):
        return f"{a} and {b}: {found}"
    better = b if found.difference > 0 else a
    said = f"{better} is significantly better" if found.significant else "the difference is not significant"
    return (
        f"{a} and {b} on the same {counted(found.num_examples, 'example')} of {found.split}: accuracy "
        f"{found.first:.4f} and {found.second:.4f}, difference {found.difference:+.4f} "
        f"(95 % from {found.low:+.4f} to {found.high:+.4f}): {said}"
    )
