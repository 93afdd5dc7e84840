"""Prediction with a package: which files, which rows, and what goes wrong with which words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.image.deployment.predict import find_images, load_package, predict_paths, predictions_schema
from trainables.image.package import ONNX_FILE


def save(
    path: Path, color: tuple[int, ...], size: tuple[int, int] = (20, 10), mode: str = "RGB", **options: object
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)
    return path


def table_of(model: Path, paths: list[Path], batch_size: int = 4, num_threads: int = 2) -> pa.Table:
    package = load_package(model)
    return pa.Table.from_batches(
        predict_paths(package, paths, batch_size, num_threads), schema=predictions_schema(package.facts)
    )


def test_rows_are_in_the_order_asked_for_whatever_the_batch_size(color_model: Path, tmp_path: Path) -> None:
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    names = ["red", "green", "blue"]
    paths = [save(tmp_path / f"{i}.png", colors[i % 3], size=(5 + i, 30 - i)) for i in range(11)]
    tables = [table_of(color_model, paths, size, threads) for size, threads in ((1, 1), (3, 2), (11, 1), (64, 3))]
    for table in tables:
        assert table["path"].to_pylist() == [str(path) for path in paths]
        assert table["predicted"].to_pylist() == [names[i % 3] for i in range(11)]
        assert table.equals(tables[0])
    assert tables[0].column_names == ["path", "predicted", "probability", "p_red", "p_green", "p_blue", "error"]
    row = tables[0].to_pylist()[0]
    assert row["probability"] == row["p_red"] > 0.99
    assert row["p_red"] + row["p_green"] + row["p_blue"] == pytest.approx(1, abs=1e-5)
    assert row["error"] is None


def test_an_unreadable_file_gets_a_row_and_stops_nothing(color_model: Path, tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", (0, 0, 250))
    broken, empty = tmp_path / "broken.jpg", tmp_path / "empty.png"
    broken.write_bytes(save(tmp_path / "whole.jpg", (9, 9, 9), size=(200, 200)).read_bytes()[:300])
    empty.write_bytes(b"")
    rows = table_of(color_model, [broken, good, empty], batch_size=2).to_pylist()
    assert [row["predicted"] for row in rows] == [None, "blue", None]
    assert "empty" in rows[2]["error"]
    assert rows[0]["error"]
    assert rows[1]["error"] is None
    assert all(rows[0][name] is None for name in ("probability", "p_red", "p_green", "p_blue"))


def test_a_batch_with_no_readable_file(color_model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    assert table_of(color_model, [bad]).to_pylist()[0]["error"] == "not an image of a known format"


def test_images_are_turned_upright_and_all_color_modes_are_read(color_model: Path, tmp_path: Path) -> None:
    # Left half red, right half black; turned by EXIF orientation 6 it is red above and black below.
    package = load_package(color_model)
    seen: list[np.ndarray] = []
    package.probabilities = lambda images: seen.append(images) or np.zeros((len(images), 3), np.float32)  # type: ignore
    picture = Image.new("RGB", (40, 20))
    picture.paste((250, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    list(predict_paths(package, [tmp_path / "turned.png"]))
    (upright,) = seen[0]
    assert upright[0, :, 0].min() > 240
    assert upright[-1].max() == 0

    paths = [
        save(tmp_path / "cmyk.jpg", (0, 255, 255, 0), mode="CMYK"),
        save(tmp_path / "palette.png", (0, 250, 0)),
        save(tmp_path / "alpha.png", (0, 0, 250, 255), mode="RGBA"),
        save(tmp_path / "grey.png", 77, mode="L"),
    ]
    Image.open(paths[1]).convert("P").save(paths[1])
    rows = table_of(color_model, paths).to_pylist()
    assert [row["predicted"] for row in rows[:3]] == ["red", "green", "blue"]
    assert rows[3]["p_red"] == pytest.approx(1 / 3, rel=1e-4)


def test_multilabel_predictions_are_all_labels_from_the_threshold(color_labels_model: Path, tmp_path: Path) -> None:
    paths = [
        save(tmp_path / "a.png", (250, 160, 0)),
        save(tmp_path / "b.png", (128, 0, 0)),
        save(tmp_path / "c.png", (0, 0, 0)),
    ]
    rows = table_of(color_labels_model, paths).to_pylist()
    assert [row["predicted"] for row in rows] == [["red", "green"], ["red"], []]
    assert rows[1]["probability"] == 0.5
    assert rows[0]["probability"] == rows[0]["p_green"] < rows[0]["p_red"], "of the least probable label"
    assert rows[2]["probability"] is None, "no label is predicted"


def test_a_name_that_is_no_utf8_is_escaped(color_model: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    try:
        save(path, (250, 0, 0))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert table_of(color_model, [path])["path"].to_pylist() == [f"{tmp_path}/\\xff.png"]


def test_folders_are_searched_in_name_order_and_files_come_once(tmp_path: Path) -> None:
    wanted = [save(tmp_path / name, (1, 2, 3)) for name in ("b.JPG", "a/2.png", "a/10.webp", "c.tiff")]
    (tmp_path / "notes.txt").write_text("no image")
    save(tmp_path / ".hidden" / "x.png", (1, 2, 3))
    odd = save(tmp_path / "picture.dat", (1, 2, 3), format="png")
    assert find_images([tmp_path]) == [tmp_path / name for name in ("b.JPG", "c.tiff", "a/10.webp", "a/2.png")]
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    (tmp_path / "a/circle").symlink_to(tmp_path)
    assert len(find_images([tmp_path])) == 4
    assert find_images([tmp_path / "linked"]) == [tmp_path / "linked" / name for name in ("10.webp", "2.png")]
    for link in ("linked", "a/circle"):
        (tmp_path / link).unlink()
    assert find_images([odd, tmp_path, wanted[0]]) == [odd, *find_images([tmp_path])]
    assert find_images([f"{tmp_path}/**/*.png"]) == [tmp_path / "a/2.png"]
    assert find_images([f"{tmp_path}/*"]) == [tmp_path / "b.JPG", tmp_path / "c.tiff"]


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as error:
        find_images([tmp_path / "gone.png", tmp_path / "empty", f"{tmp_path}/*.png"])
    for part in ("gone.png: no such file", "empty: no image in this folder", "*.png: the pattern matches no image"):
        assert part in str(error.value)


@pytest.mark.parametrize("kept", [0, 10, 300, -4])
def test_a_truncated_model_is_refused_in_words(color_model: Path, kept: int) -> None:
    path = color_model / ONNX_FILE
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"model\.onnx.*(cut short|no exported model)"):
        load_package(color_model)


def test_what_is_no_package_is_refused_in_words(color_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.onnx: no such file"):
        load_package(tmp_path / "nowhere.onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"it holds no model\.onnx"):
        load_package(tmp_path / "folder")
    foreign = onnx.load(color_model / ONNX_FILE)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(DataError, match="no exported model of this project"):
        load_package(tmp_path / "foreign.onnx")


def test_prediction_needs_no_torch(color_model: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "image.png", (250, 0, 0))
    code = (
        "import sys; from pathlib import Path\n"
        "from trainables.image.deployment.predict import load_package, predict_paths\n"
        "(batch,) = predict_paths(load_package(Path(sys.argv[1])), [Path(sys.argv[2])])\n"
        "assert batch['predicted'].to_pylist() == ['red']\n"
        "assert not {'torch', 'timm', 'ray', 'optuna', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(color_model), str(image)], check=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", "path\n0001\n0002\n"),  # names, not the numbers 1 and 2
        ("list.csv", "id,label\n0001,cat\n0002,dog\n"),
        ("list.csv", "label;file\ncat;0001\ndog;0002\n"),
        ("list.txt", "0001\n0002\n"),
        ("list.jsonl", '{"file": "0001"}\n{"file": "0002"}\n'),
    ],
)
def test_a_table_lists_pictures(tmp_path: Path, name: str, content: str) -> None:
    for each in ("0001", "0002"):
        Image.new("RGB", (8, 8)).save(tmp_path / each, format="PNG")
    (tmp_path / name).write_text(content)
    assert find_images([tmp_path / name]) == [tmp_path / "0001", tmp_path / "0002"]


def test_names_in_a_table_are_found_as_in_a_table_of_labels(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for each in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"images/{each}.png")
    (tmp_path / "list.csv").write_text("path\nimages\\a.png\nb\ngone.png\n")
    found = [tmp_path / name for name in ("images/a.png", "images/b.png", "gone.png")]
    assert find_images([tmp_path / "list.csv"]) == found
    (tmp_path / "list.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"no column 'path', and none whose cells are files beside it; it has x, y"):
        find_images([tmp_path / "list.csv"])
