"""One sweep as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import importlib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sweep_runner.durable import write_atomically
from sweep_runner.report import facts, palette
from sweep_runner.report.accuracy import published_on_test
from sweep_runner.report.advice.rules import advice_for
from sweep_runner.report.board_table import board_table
from sweep_runner.report.drawn import draw, draw_evaluations
from sweep_runner.report.examples import fed_to, pictures_of
from sweep_runner.report.facts import read_spec
from sweep_runner.report.param_order import known_importances
from sweep_runner.report.plot_data import Confusion, read_confusion, title_of
from sweep_runner.report.trial_study import study_of
from sweep_runner.results import measures
from sweep_runner.results.annotations import read_annotations
from sweep_runner.results.answer import answer_of, published_first
from sweep_runner.results.costs import shown_costs
from sweep_runner.results.display import few_digits
from sweep_runner.results.findings import read_findings
from sweep_runner.results.leaderboard import Leaderboard, TrialRow, leaderboard
from sweep_runner.results.package_formats import COLUMNS, package_formats
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.tables import Warn, load_table
from sweep_runner.results.temperature import package_temperature, scaling_words
from sweep_runner.results.uses_of_test import uses_of_test

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


MAX_ROWS = 1000
"""Of the leaderboard and the figures: the best half of them, of all others evenly many, and baselines."""
PRINTED_ROWS = 100
MAX_CLASSES = 400
_NUM_PAIRS = 8
_PAIR_PICTURES = 4


def import_ahead() -> None:
    """Imports what `write_report` will: seconds, which are better spent while something else is being waited for."""
    for name in ("jinja2", "optuna.importance"):
        importlib.import_module(name)


def write_report(results: ResultsPaths, name: str, output: Path | None, warn: Warn) -> Path:
    """Writes a sweep's report.

    Args:
        results: where the sweep is.
        name: its name.
        output: the file; by default `report.html` in the sweep's folder.
        warn: told of what cannot be read.

    Raises:
        RequestError: there is no such sweep.
    """
    paths = results.sweep(name)
    content = render(results, name, warn).encode()
    file = output if output is not None else paths.report
    write_atomically(file, lambda stream: stream.write(content))
    return file


def render(results: ResultsPaths, name: str, warn: Warn) -> str:
    """The report's HTML. Every name of the user's is escaped."""
    environment = page_environment()
    environment.filters.update(number=few_digits, percent=_percent, duration=duration)
    values = collect(results, name, warn)
    return environment.get_template("report.html.j2").render(**values)


def collect(results: ResultsPaths, name: str, warn: Warn) -> dict[str, Any]:
    """Everything that the template shows."""
    board, paths = leaderboard(results, name), results.sweep(name)
    spec = read_spec(paths)
    epochs = load_table(results, "epochs", (name,), warn)
    evaluated = facts.best_with_evaluation(paths, published_first(board))
    confusion = read_confusion(paths, *evaluated, warn) if evaluated else None
    table = facts.predictions(paths, evaluated[0].trial, evaluated[1], warn) if evaluated else None
    study = study_of(board, spec)
    found = known_importances(study)
    rows, uses, noted = shown_rows(board), uses_of_test(results, board), read_annotations(paths, warn)
    shown = draw(board, rows, paths, study, found, warn) | draw_evaluations(
        paths, board, confusion, table, epochs, warn
    )
    samples = facts.samples(table) if table is not None else []
    right = [sample for sample in samples if sample.right][: facts.NUM_SAMPLES]
    wrong = [sample for sample in samples if not sample.right][: facts.NUM_SAMPLES]
    pairs = _pairs(confusion, samples)
    wanted = [sample.example for sample in (*right, *wrong, *(each for pair in pairs for each in pair["samples"]))]
    return {
        "name": name,
        "board": board,
        "paths": paths,
        "question": facts.question(paths),
        "sure": list(told.lines()) if (told := answer_of(board)) is not None else [],
        "answer": facts.answer(board, published_on_test(board, paths, warn)),
        "candidates": load_table(results, "candidates", (name,), warn).to_pylist(),
        "uses": uses,
        "advice": advice_for(board, paths, spec, warn),
        "rows": rows,
        "left_out": len(board.ranked) - len(rows),
        "table": board_table(board, rows, uses, duration, noted),
        "notes": noted,
        "printed_rows": PRINTED_ROWS,
        "states": sorted({row.state.lower() for row in rows}),
        "titles": [title_of(row) for row in rows],
        "costs": shown_costs(board),
        "formats": package_formats(paths.best),
        "format_columns": COLUMNS,
        "machines": "; ".join(sorted({str(row.row["measured_on"]) for row in rows if row.row.get("measured_on")})),
        "figures": shown,
        "why_no_importance": found if isinstance(found, str) else "",
        "confirmed": any(row.confirmed_mean is not None for row in rows),
        "saved": facts.saved_by_pruning(board, spec),
        "evaluated": (title_of(evaluated[0]), evaluated[1]) if evaluated else None,
        "confusion": confusion,
        "classes": _classes(confusion),
        "measures": _measures(paths, evaluated, table, warn),
        "pairs": pairs,
        "right": right,
        "wrong": wrong,
        "num_wrong": sum(not sample.right for sample in samples),
        "num_samples": len(samples),
        "pictures": pictures_of(paths, spec, list(dict.fromkeys(wanted)), warn),
        "fed": fed_to(paths, spec, evaluated[0], warn) if evaluated else None,
        "found": read_findings(paths),
        "failures": [row for row in board.unranked if row.state in ("FAILED", "INFEASIBLE")],
        "commands": [(row, paths.command("reproduce", str(row.trial))) for row in rows[:PRINTED_ROWS]],
    }


def shown_rows(board: Leaderboard) -> list[TrialRow]:
    """The ranked trials that are shown, best first."""
    rows = board.ranked
    if len(rows) <= MAX_ROWS:
        return list(rows)
    half = MAX_ROWS // 2
    step = -(-(len(rows) - half) // half)
    wanted = {row.trial for row in (*rows[:half], *rows[half::step])}
    return [row for row in rows if row.trial in wanted or row.name is not None]


def _measures(
    paths: SweepPaths, evaluated: tuple[TrialRow, str] | None, table: pa.Table | None, warn: Warn
) -> dict[str, Any] | None:
    """What the predictions say beyond the metrics; None without them."""
    found = measures.judged(table) if table is not None else None
    if found is None or evaluated is None:
        return None
    row, split = evaluated
    calibrated: Any = "no temperature: the model was evaluated on val alone, on which it is fitted"
    if split != "val":
        val = facts.predictions(paths, row.trial, "val", warn)
        calibrated = measures.calibration(found, None if val is None else measures.judged(val))
    if told := package_temperature(paths.best):
        calibrated = f"{scaling_words(told)}. The chart has the probabilities without it"
    return {
        "classes": {each.name: each for each in measures.class_measures(found)},
        "coverage": [measures.answered(found, level) for level in measures.CONFIDENCES],
        "top": measures.top_k(found),
        "calibration": calibrated,
    }


def _classes(confusion: Confusion | None) -> list[tuple[str, float, float, float, int]]:
    """Class, precision, recall, F1, support: the worst first."""
    if confusion is None:
        return []
    columns = (confusion.classes, confusion.precision, confusion.recall, confusion.f1, confusion.support)
    return sorted(zip(*columns, strict=True), key=lambda row: row[3])[:MAX_CLASSES]


def _pairs(confusion: Confusion | None, samples: Sequence[facts.Sample]) -> list[dict[str, Any]]:
    if confusion is None:
        return []
    wrong = [sample for sample in samples if not sample.right]
    return [
        {
            "actual": actual,
            "predicted": said,
            "count": count,
            "samples": [
                sample
                for sample in wrong
                if actual in sample.labels and said in sample.predicted and said not in sample.labels
            ][:_PAIR_PICTURES],
        }
        for actual, said, count in confusion.pairs[:_NUM_PAIRS]
    ]


def page_environment() -> Environment:
    """Makes pages of templates. Every name of the user's is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("sweep_runner.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        data_uri=_data_uri, svg=Markup, breakable=_breakable, without_about=partial(replace, about="")
    )
    environment.globals["palette"] = Markup(palette.css())
    return environment


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def duration(seconds: float | None) -> str:
    """Seconds for people: `12.3 s`, `4 min 05 s`, `2 h 03 min`; nothing where they are not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores: a long one over short cells would make its column wide."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _data_uri(picture: bytes) -> str:
    kind = "png" if re.match(rb"\x89PNG", picture) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
