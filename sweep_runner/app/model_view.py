"""The explorer's last tab: the exported model on a picture."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from sweep_runner.report import examples as of_data
from sweep_runner.report import facts
from sweep_runner.results.answer import published_first
from sweep_runner.results.leaderboard import Leaderboard
from sweep_runner.results.paths import SweepPaths
from trainables.errors import DataError

TOP = 5
KINDS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff")
NUM_PICTURES = 8
SIZE = 256  # pixels of a picture to pick


def show(paths: SweepPaths, board: Leaderboard) -> None:
    """Pick or upload a picture; the model's top predictions."""
    packages = {
        package.name: package
        for package in (paths.best, *sorted(paths.root.glob("exports/*")))
        if (package / "model.onnx").is_file()
    }
    if not packages:
        st.write(f"There is no exported model yet. `{paths.command('export')}`")
        return
    name = str(st.selectbox("Model", list(packages), key="model"))
    try:
        package = _open(str(packages[name]), (packages[name] / "model.onnx").stat().st_mtime_ns)
    except (DataError, OSError) as error:
        st.error(str(error))
        return
    about = package.facts
    st.caption(f"{len(about.classes)} classes, {about.input_resolution} pixels, trial {about.origin.get('trial', '?')}")
    given = st.file_uploader("Your image", type=list(KINDS), key="upload")
    picked = st.text_input("… or the path of an image on this machine", key="path")
    from_data = _pick(paths, board)
    if given is not None:
        _predict_bytes(package, given.getvalue(), Path(given.name).suffix)
    elif picked:
        _predict(package, Path(picked).expanduser())
    elif from_data is not None:
        _predict_bytes(package, from_data, ".jpg")


def _pick(paths: SweepPaths, board: Leaderboard) -> bytes | None:
    """Pictures of the data to choose from, those first that the best trial took for something else; the chosen one."""
    found = facts.best_with_evaluation(paths, published_first(board))
    table = None if found is None else facts.predictions(paths, found[0].trial, found[1], _ignore)
    if found is None or table is None:
        return None
    samples = facts.samples(table)
    half = NUM_PICTURES // 2
    wrong = [sample for sample in samples if not sample.right][:half]
    right = [sample for sample in samples if sample.right]
    shown = [*wrong, *right[:: max(1, len(right) // NUM_PICTURES)][: NUM_PICTURES - len(wrong)]]
    pictures = _pictures(str(paths.root), tuple(sample.example for sample in shown))
    if not pictures:
        return None
    st.caption(f"… or an image of the {found[1]} data, made small: probabilities may differ a little")
    for place, (column, sample) in enumerate(zip(st.columns(NUM_PICTURES), shown, strict=False)):
        if sample.example in pictures:
            column.image(pictures[sample.example], width=96)
            # Labels are users' words, and no markdown.
            label = ", ".join(sample.labels) or "nothing"
            if column.button(label.replace("$", "\\$").replace("*", "\\*"), key=f"picture-{place}", width="stretch"):
                st.session_state["picture"] = sample.example
    return pictures.get(str(st.session_state.get("picture")))


@st.cache_data(max_entries=4, show_spinner="Reading images of the data")
def _pictures(folder: str, examples: tuple[str, ...]) -> dict[str, bytes]:
    paths = SweepPaths(Path(folder))
    return dict(of_data.pictures_of(paths, facts.read_spec(paths), examples, _ignore, SIZE))


def _ignore(text: str) -> None:
    """Data that is gone is no error here: a picture can be uploaded."""


@st.cache_resource(max_entries=4)
def _open(folder: str, changed: int) -> Any:
    from trainables.image.deployment.predict import load_package

    return load_package(Path(folder))


def _predict_bytes(package: Any, picture: bytes, suffix: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(picture)
        file.flush()
        _predict(package, Path(file.name))


def _predict(package: Any, path: Path) -> None:
    from trainables.image.deployment.predict import predict_paths

    (batch,) = predict_paths(package, [path])
    (row,) = batch.to_pylist()
    if row["error"]:
        st.error(f"This image cannot be read: {row['error']}")
        return
    left, right = st.columns([1, 2])
    left.image(path.read_bytes(), width=260)
    scores = sorted(((row[f"p_{name}"], name) for name in package.facts.classes), reverse=True)[:TOP]
    with right:
        for score, name in scores:
            st.progress(min(1.0, max(0.0, score)), text=f"{name}: {score:.1%}".replace("$", "\\$"))
