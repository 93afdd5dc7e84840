"""The explorer's star and note of a trial: what is changed here is kept in the sweep's folder."""

from __future__ import annotations

import streamlit as st

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.report.plot_data import title_of
from sweep_runner.results.annotations import MAX_LETTERS, STAR, Annotation, annotate, read_annotations
from sweep_runner.results.leaderboard import Leaderboard
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.tables import Warn


def edit(results: ResultsPaths, board: Leaderboard, warn: Warn) -> None:
    """Pick a trial; its star and its note."""
    rows = [*board.ranked, *board.unranked]
    if not rows:
        return
    name = board.sweep.sweep
    noted = read_annotations(results.sweep(name), warn)
    titles = {title_of(row): row.trial for row in rows}
    left, middle, right = st.columns([2, 1, 4], vertical_alignment="bottom")
    trial = titles[str(left.selectbox("Note on", list(titles), key=f"noted-{name}"))]
    now = noted.get(trial, Annotation())
    starred = middle.toggle(f"{STAR} star", value=now.starred, key=f"star-{name}-{trial}")
    note = right.text_input("Note", value=now.note, max_chars=MAX_LETTERS, key=f"note-{name}-{trial}")
    note = " ".join(note.split())  # as it is kept: otherwise it would be changed for ever
    if (starred, note) != (now.starred, now.note):
        try:
            annotate(results, name, trial, starred=starred, note=note)
        except (RequestError, SweepError, OSError) as error:
            warn(f"the note is not kept: {error}")
            return
        st.rerun()
