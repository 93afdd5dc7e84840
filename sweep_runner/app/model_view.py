"""The explorer's last tab: the exported model on a picture."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from sweep_runner.results.paths import SweepPaths
from trainables.errors import DataError

TOP = 5
KINDS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff")


def show(paths: SweepPaths) -> None:
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
    facts = package.facts
    st.caption(f"{len(facts.classes)} classes, {facts.input_resolution} pixels, trial {facts.origin.get('trial', '?')}")
    given = st.file_uploader("A picture of yours", type=list(KINDS), key="upload")
    picked = st.text_input("… or the path of one on this machine", key="path")
    if given is not None:
        with tempfile.NamedTemporaryFile(suffix=Path(given.name).suffix) as file:
            file.write(given.getvalue())
            file.flush()
            _predict(package, Path(file.name))
    elif picked:
        _predict(package, Path(picked).expanduser())


@st.cache_resource(max_entries=4)
def _open(folder: str, changed: int) -> Any:
    from trainables.image.deployment.predict import load_package

    return load_package(Path(folder))


def _predict(package: Any, path: Path) -> None:
    from trainables.image.deployment.predict import predict_paths

    (batch,) = predict_paths(package, [path])
    (row,) = batch.to_pylist()
    if row["error"]:
        st.error(f"This picture cannot be read: {row['error']}")
        return
    left, right = st.columns([1, 2])
    left.image(path.read_bytes(), width=260)
    scores = sorted(((row[f"p_{name}"], name) for name in package.facts.classes), reverse=True)[:TOP]
    with right:
        for score, name in scores:
            st.progress(min(1.0, max(0.0, score)), text=f"{name}: {score:.1%}".replace("$", "\\$"))
