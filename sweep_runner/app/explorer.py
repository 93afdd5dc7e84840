"""The page that `sweep app` serves. Streamlit runs this file from top to bottom at each click."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import streamlit as st

from sweep_runner.app import model_view, notes_view
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.report import facts, sweeps_page
from sweep_runner.report.accuracy import published_on_test
from sweep_runner.report.board_table import Column, board_table
from sweep_runner.report.charts.evaluation import confusion as confusion_matrix
from sweep_runner.report.charts.plot import Shown
from sweep_runner.report.charts.progress import learning_curves
from sweep_runner.report.charts.sweeps import MOST
from sweep_runner.report.comparison import differing, significance
from sweep_runner.report.embedded import alone, linked_trials
from sweep_runner.report.page import duration
from sweep_runner.report.plot_data import read_confusion, read_curves, title_of
from sweep_runner.results.annotations import read_annotations
from sweep_runner.results.answer import answer_of
from sweep_runner.results.display import few_digits
from sweep_runner.results.leaderboard import Leaderboard, TrialRow, leaderboard, sweep_rows
from sweep_runner.results.paths import ResultsPaths, SweepPaths

LIVE_S = 5  # between two looks at a sweep that runs (no docstring: Streamlit would show it)
TABS = ("Trials", "Figures", "Confusion matrices", "Compare two", "Compare sweeps", "Try the model")
HEIGHT = 1400  # of the linked figures
_LETTER, _TITLE, _ROOM, _WIDEST = 6.4, 9, 20, 240  # of columns: pixels, letters, pixels, pixels
_STYLE = """<style>
.stMainBlockContainer { padding: 3rem 2rem 2rem; } h1 { padding-top: 0; }
[data-testid="stSidebar"][aria-expanded="true"] { min-width: 15rem; width: 15rem !important; }
</style>"""


def main(results: ResultsPaths) -> None:
    """The whole page."""
    st.set_page_config(page_title="Sweeps", page_icon="📈", layout="wide")
    st.html(_STYLE)
    rows = sweep_rows(results)
    if not rows:
        st.title("No sweeps yet")
        st.write(f"There is none in `{results.root}`. Start one: `sweep run FILE`.")
        return
    with st.sidebar:
        st.header("Sweeps")
        name = str(st.selectbox("Sweep", [row.sweep for row in rows], key="sweep"))
        row = next(row for row in rows if row.sweep == name)
        live = st.toggle("Live: look again every few seconds", value=row.state == "RUNNING", key=f"live-{name}")
    st.title(name)
    question = facts.question(results.sweep(name))
    if question:
        st.write(_plain(question))
    st.fragment(_body, run_every=LIVE_S if live else None)(results, name)


def _body(results: ResultsPaths, name: str) -> None:
    try:
        board = leaderboard(results, name)
    except (RequestError, SweepError) as error:
        st.error(str(error))
        return
    paths = results.sweep(name)
    counts = ", ".join(f"{count} {state.lower()}" for state, count in board.sweep.counts.items())
    st.caption(" · ".join(part for part in (board.sweep.state.lower(), counts) if part))
    st.info(_plain(facts.answer(board, published_on_test(board, paths, _warn))))
    if (answer := answer_of(board)) is not None:
        st.markdown("\n".join(f"- {_plain(line[0].upper() + line[1:])}." for line in answer.lines()))
    trials, linked, confusions, compare, sweeps, model = st.tabs(TABS)
    with trials:
        _filtered(board, paths)
        notes_view.edit(results, board, _warn)
    with linked:
        _linked(board, paths)
    with confusions:
        _confusions(board, paths)
    with compare:
        _compare(board, paths)
    with sweeps:
        _compare_sweeps(results, board)
    with model:
        model_view.show(paths, board)


def _filtered(board: Leaderboard, paths: SweepPaths) -> None:
    """The leaderboard with its filters."""
    rows = [*board.ranked, *board.unranked]
    with st.expander("Filter"):
        left, right = st.columns(2)
        states = left.multiselect("State", sorted({row.state for row in rows}), key="states")
        only = right.toggle("Baselines only", key="baselines")
        choices = {}
        for param in board.params:
            has = [str(row.params[param]) for row in rows if param in row.params]
            # Where each trial has a value of its own (a learning rate), there is nothing to choose among.
            if 1 < len(set(has)) <= 12 and 2 * len(set(has)) <= len(has):
                choices[param] = sorted(set(has))
        if choices:
            for column, (param, values) in zip(st.columns(4) * 8, choices.items(), strict=False):
                wanted = column.multiselect(param, values, key=f"param-{param}")
                rows = [row for row in rows if not wanted or str(row.params.get(param)) in wanted]
    rows = [row for row in rows if (not states or row.state in states) and (not only or row.name)]
    table = board_table(board, rows, None, duration, read_annotations(paths, _warn))
    columns = [*table.columns, *_reasons(rows)]
    # Of a mean and its deviation the text is shown: a number alone would leave out the half of it.
    as_numbers = {
        column.title for column in columns if column.numbers and not any("±" in text for text in column.texts)
    }
    cells = {column.title: list(column.numbers if column.title in as_numbers else column.texts) for column in columns}
    shown = {column.title: _shown_as(column, column.title in as_numbers) for column in columns}
    st.dataframe(cells, hide_index=True, width="content", column_config=shown, placeholder="")
    same = f"; all of them: {table.alike}" if table.alike else ""
    st.caption(f"{len(rows)} of {len(board.ranked) + len(board.unranked)} trials{same}".replace("$", "\\$"))


def _shown_as(column: Column, is_number: bool) -> Any:
    """As wide as its cells, with as many decimals as the report's column has; sorted as numbers all the same."""
    # Of a long title the beginning is enough: pointing at it shows the rest.
    letters = max((len(text) for text in column.texts), default=0)
    width = min(_WIDEST, round(_LETTER * max(letters, min(len(column.title), _TITLE))) + _ROOM)
    if not is_number:
        return st.column_config.TextColumn(width=width, help=column.title)
    if column.title == "time":
        return st.column_config.NumberColumn("time (s)", format="%.1f", width=width)
    decimals = max(
        (len(text.partition(".")[2]) for text in column.texts if "e" not in text and " " not in text), default=0
    )
    number = "%.3g" if any("e" in text for text in column.texts) else f"%.{decimals}f"
    return st.column_config.NumberColumn(format=number, width=width, help=column.title)


def _reasons(rows: list[TrialRow]) -> list[Column]:
    """Why trials ended, where one of them ended otherwise than by running to its end."""
    reasons = [row.reason or "" for row in rows]
    return [Column("reason", reasons, False)] if any(reasons) else []


def _linked(board: Leaderboard, paths: SweepPaths) -> None:
    if not board.ranked:
        st.write("No trial has a value yet.")
        return
    st.iframe(linked_trials(board, paths, _theme(), _warn), height=HEIGHT)


def _theme() -> str:
    return str(st.context.theme.type or "light")


def _confusions(board: Leaderboard, paths: SweepPaths) -> None:
    found = [
        (row, split)
        for row in board.ranked
        for split in ("test", "val")
        if facts.predictions(paths, row.trial, split, _warn) is not None
    ]
    if not found:
        st.write("No trial has a final evaluation: the best one and the baselines get it when the sweep ends.")
        return
    labels = [f"{title_of(row)}, {split}" for row, split in found]
    label = st.selectbox("Evaluation", labels, key="evaluation")
    row, split = found[labels.index(label)]
    confusion = read_confusion(paths, row, split, _warn)
    if confusion is None:
        return
    _draw(confusion_matrix(confusion), height=760)
    left, right = st.columns(2)
    pairs = [{"actual": a, "predicted": b, "examples": n} for a, b, n in confusion.pairs[:15]]
    left.dataframe(pairs, hide_index=True)
    columns = (confusion.classes, confusion.precision, confusion.recall, confusion.f1, confusion.support)
    names = ("class", "precision", "recall", "F1", "examples")
    right.dataframe([dict(zip(names, each, strict=True)) for each in zip(*columns, strict=True)], hide_index=True)


def _compare(board: Leaderboard, paths: SweepPaths) -> None:
    rows = [*board.ranked, *board.unranked]
    if len(rows) < 2:
        st.write("It takes two trials.")
        return
    titles = [title_of(row) for row in rows]
    chosen = []
    for place, (side, column) in enumerate(zip(("first", "second"), st.columns(2), strict=True)):
        title = column.selectbox(f"The {side} trial", titles, index=place, key=f"{side}-{paths.name}")
        row = rows[titles.index(title)]
        chosen.append(row)
        with column:
            st.metric(board.objective, "–" if row.value is None else f"{row.value:.4f}")
            st.caption(_plain(f"{row.state.lower()}{': ' + row.reason if row.reason else ''}"))
    if chosen[0].trial == chosen[1].trial:
        st.write("Choose two different trials.")
        return
    first, second = chosen
    # Both in one figure: on axes of their own the worse of two looks like the better.
    _draw(learning_curves(board, read_curves(paths, chosen, _warn, board.objective), chosen))
    st.subheader("What differs")
    pairs = differing(first.params, second.params)
    same = [{"param": name, "first": few_digits(a), "second": few_digits(b)} for name, a, b in pairs]
    st.dataframe(same, hide_index=True, width="stretch")
    tested = significance((paths, first), (paths, second), _warn)
    if isinstance(tested, str):
        st.caption(tested)
        return
    verdict = "the difference is significant" if tested.significant else "the difference is not significant"
    st.write(
        f"On the same {tested.num_examples} {tested.split} examples the second is {tested.difference:+.4f} "
        f"(95 % from {tested.low:+.4f} to {tested.high:+.4f}): {verdict}."
    )


def _compare_sweeps(results: ResultsPaths, board: Leaderboard) -> None:
    """This sweep and others on the same axes: the page of `sweep report A B`."""
    name = board.sweep.sweep
    others = [row.sweep for row in sweep_rows(results) if row.sweep != name]
    if not others:
        st.write("There is no other sweep to compare with.")
        return
    chosen = st.multiselect(
        f"Compare {_plain(name)} with", others, max_selections=MOST - 1, key=f"others-{name}", placeholder="Sweeps"
    )
    if not chosen:
        st.caption(
            "Choose one or more sweeps: their progress, hyperparameters and settings are shown on the same axes."
        )
        return
    try:
        page = sweeps_page.render(results, [name, *chosen], _warn, _theme())
    except RequestError as error:
        st.write(_plain(str(error)))
        return
    st.iframe(page, height=HEIGHT)
    st.caption(f"The same page as a file: `{results.sweep(name).command('report', *chosen)}`")


def _draw(shown: Shown | None, height: int = 560) -> None:
    if shown is not None:
        st.markdown(f"**{shown.title}**")
        st.iframe(alone(shown, _theme()), height=height)


def _warn(text: str) -> None:
    st.warning(_plain(text))


def _plain(text: str) -> str:
    """Text as it is: what users named is not markdown."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#+-!|$~:" else char for char in text)


if __name__ == "__main__":
    main(
        ResultsPaths(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SWEEP_RESULTS", "results")).absolute())
    )
