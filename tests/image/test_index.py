from __future__ import annotations

from pathlib import Path

import numpy as np

from trainables.image.datasets.base import Example, table_of
from trainables.image.index import ImageIndex, flat_labels


def test_index_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    table = table_of(
        [
            Example("a", [1], path=tmp_path / "ä.png", box=(0, 1, 2, 3), group="g", split="train"),
            Example("b", [0], image=b"bytes", split="val"),
            Example("c", [1], image=b"more", split="train"),
        ]
    )
    index = ImageIndex(table, ("no", "yes"), False, "f", "p")
    index.save(tmp_path / "index.arrow")
    loaded = ImageIndex.load(tmp_path / "index.arrow")
    assert loaded.table.equals(table)
    assert (loaded.classes, loaded.multilabel) == (("no", "yes"), False)
    assert (loaded.fingerprint, loaded.pixels_fingerprint) == ("f", "p")
    assert loaded.rows("train").tolist() == [0, 2]
    assert loaded.rows("test").tolist() == []
    assert loaded.targets.tolist() == [1, 0, 1]
    assert loaded.table["group"].to_pylist() == ["g", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["index.arrow"]


def test_targets_of_many_labels() -> None:
    table = table_of(Example(name, labels, image=b"") for name, labels in {"a": [0, 2], "b": [], "c": [1]}.items())
    index = ImageIndex(table, ("x", "y", "z"), True, "")
    assert index.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert index.targets.dtype == np.float32
    rows, labels = flat_labels(table)
    assert rows.tolist() == [0, 0, 2]
    assert labels.tolist() == [0, 2, 1]
