"""`sweep predict` and `sweep export` as a user meets them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sweep_runner.cli.main import main
from tests.support.evaluated import write_evaluated_sweep
from tests.support.sweeps import sweep

COLORS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}
COLUMNS = ["path", "predicted", "probability", "p_red", "p_green", "p_blue", "error"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, color in COLORS.items():
        Image.new("RGB", (12, 9), color).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def results(tmp_path: Path, color_model: Path) -> Path:
    """A results folder with a sweep that has a model, and one that has none."""
    for name in ("colors", "unfinished"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "sweep.yaml").write_text(f"name: {name}\n")
    shutil.copytree(color_model, tmp_path / "results" / "colors" / "best")
    return tmp_path / "results"


def test_a_table_with_every_class_goes_to_stdout(
    color_model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(color_model), str(images)]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(out), delimiter="\t"))
    assert rows[0] == COLUMNS
    assert [(Path(row[0]).name, row[1]) for row in rows[1:]] == [(f"{name}.png", name) for name in COLORS]
    assert "3 of 3 images" in err
    assert "8 px (sweep colors, trial 7)" in err


def test_prediction_imports_nothing_heavy(color_model: Path, images: Path) -> None:
    code = f"""
import sys
from sweep_runner.cli.main import main
main({["predict", str(color_model), str(images), "--quiet"]!r})
heavy = ["torch", "ray", "pydantic", "duckdb", "pandas", "rich", "pyarrow.parquet", "pyarrow.compute"]
print("imported", [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    header, *rows, imported = done.stdout.splitlines()
    assert header.split("\t") == COLUMNS
    assert len(rows) == len(COLORS)
    assert imported == "imported []"


def test_a_terminal_shows_what_fits(
    color_model: Path, images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["predict", str(color_model), str(images)]) == 0
    head, *rows = click.unstyle(capsys.readouterr().out).splitlines()
    assert head.split() == ["path", "predicted", "probability"]
    assert [row.split()[1] for row in rows] == list(COLORS)
    (images / "a.png").write_bytes(b"")
    assert main(["predict", str(color_model), str(images), "--top", "1"]) == 1
    head, *rows = click.unstyle(capsys.readouterr().out).splitlines()
    assert head.split() == ["path", "class_1", "probability_1", "error"]
    assert "the file is empty" in rows[0]


@pytest.mark.parametrize("file_format", ["tsv", "csv", "json", "parquet"])
def test_every_format_holds_the_same(color_model: Path, images: Path, tmp_path: Path, file_format: str) -> None:
    output = tmp_path / f"predictions.{file_format}"
    (images / "broken.png").write_bytes(b"nothing")
    assert main(["predict", str(color_model), str(images), "-o", str(output)]) == 1
    if file_format == "parquet":
        rows = pq.read_table(output).to_pylist()
    elif file_format == "json":
        rows = json.loads(output.read_text())
    else:
        with output.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if file_format == "tsv" else ","))
    assert list(rows[0]) == COLUMNS
    assert [row["predicted"] or None for row in rows] == ["blue", None, "green", "red"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert float(rows[0]["probability"]) == pytest.approx(float(rows[0]["p_blue"]))
    assert len(str(rows[0]["p_red"])) < 16 or file_format == "parquet"
    assert list(output.parent.glob(".*")) == []


def test_unreadable_files_are_named_and_the_rest_is_printed(
    color_model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "a.png").write_bytes(b"")
    assert main(["predict", str(color_model), str(images), "--quiet", "--format", "json"]) == 1
    out, err = capsys.readouterr()
    assert [row["predicted"] for row in json.loads(out)] == [None, "blue", "green", "red"]
    assert "a.png: the file is empty" in err


def test_the_most_probable_classes(color_model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (5, 5), (10, 60, 40)).save(images / "mix.png")
    assert main(["predict", str(color_model), str(images / "mix.png"), "--top", "2", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row)[1:] == ["class_1", "probability_1", "class_2", "probability_2", "error"]
    assert (row["class_1"], row["class_2"]) == ("green", "blue")
    assert row["probability_1"] > row["probability_2"] > 0.1
    assert main(["predict", str(color_model), str(images / "mix.png"), "--top", "99", "--format", "csv"]) == 0
    assert "class_3" in capsys.readouterr().out


def test_labels_of_a_multilabel_model(
    color_labels_model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (5, 5), (250, 250, 0)).save(images / "yellow.png")
    assert main(["predict", str(color_labels_model), str(images / "yellow.png"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["predicted"] == ["red", "green"]
    assert main(["predict", str(color_labels_model), str(images / "yellow.png"), "--format", "tsv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t")
    assert json.loads(row["predicted"]) == ["red", "green"]


@pytest.mark.parametrize(
    "model", ["colors", "{results}/colors", "{results}/colors/best", "{results}/colors/best/model.onnx"]
)
def test_the_model_is_a_sweep_a_folder_or_a_file(
    results: Path, images: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    model = model.format(results=results)
    assert main(["predict", model, str(images / "red.png"), "--results", str(results), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["predicted"] == "red"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["colours", "{images}"], ["colours", "did you mean 'colors'"]),
        (["unfinished", "{images}"], ["has published no model yet", "sweep export unfinished"]),
        (["{images}", "{images}"], ["holds no model.onnx"]),
        (["nowhere/model.onnx", "{images}"], ["nowhere/model.onnx", "does not exist"]),
        (["colors", "{images}/gone.png", "{images}/other.png"], ["gone.png: no such file", "other.png"]),
        (["colors", "{images}", "--format", "parquet"], ["Parquet", "--output"]),
        (["colors", "{images}", "-o", "{images}/gone/x.csv"], ["its folder does not exist"]),
        (["colors", "{images}", "-o", "{images}/x.xlsx"], ["x.xlsx", "tsv, csv, json, parquet"]),
        (["colors", "{images}", "-o", "{images}"], ["not an ordinary file"]),
        (["colors", "{images}", "--batch-size", "0"], ["batch-size"]),
        (["{images}/red.png", "{images}"], ["not a usable ONNX file"]),
    ],
)
def test_wrong_requests(
    results: Path, images: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    arguments = [argument.format(images=images, results=results) for argument in arguments]
    assert main(["predict", *arguments, "--results", str(results)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for word in words:
        assert word in err
    assert "Traceback" not in err


def test_a_model_file_that_was_cut_short(color_model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = color_model / "model.onnx"
    path.write_bytes(path.read_bytes()[:200])
    assert main(["predict", str(color_model), str(images)]) == 2
    assert "cut short" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_shows_how_far_it_is_and_stdout_only_the_table(color_model: Path, images: Path) -> None:
    import pty

    reader, terminal = pty.openpty()
    command = [sys.executable, "-m", "sweep_runner", "predict", str(color_model), str(images), "--batch-size", "1"]
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, text=True, env=environment) as process:
        os.close(terminal)
        shown = _all_of(reader)
        printed, _ = process.communicate()
    assert process.returncode == 0, shown
    assert "3/3" in shown
    assert len(printed.splitlines()) == 4
    assert "\x1b" not in printed


def _all_of(terminal: int) -> str:
    """What is written to a pseudo-terminal until it is closed: Linux then makes an error of reading."""
    shown = b""
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 1 << 16):
            shown += more
    os.close(terminal)
    return shown.decode()


def test_predict_starts_without_torch(color_model: Path, images: Path) -> None:
    code = (
        "import sys; from sweep_runner.cli.main import main\n"
        "assert main(['predict', sys.argv[1], sys.argv[2]]) == 0\n"
        "assert not {'torch', 'timm', 'ray', 'optuna', 'duckdb'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(color_model), str(images)], check=True, capture_output=True)


def test_export_of_an_unknown_sweep_or_trial(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "colour", "--results", str(results)]) == 2
    assert "did you mean 'colors'" in capsys.readouterr().err
    assert main(["export", "unfinished", "--trial", "4", "--results", str(results)]) == 2
    assert "has no trial 4" in capsys.readouterr().err
    assert main(["export", "unfinished", "--results", str(results)]) == 2
    said = capsys.readouterr().err
    assert "no trial of the sweep 'unfinished' has ended with a result" in said
    assert "sweep resume" in said


def test_export_takes_the_published_trial_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_evaluated_sweep(tmp_path, ("a", "b"), published=3)
    paths.spec.write_text(
        "name: balls\ndata: {dataset: digits, limit: 60}\n"
        "space: {lr: {low: 0.01, high: 0.1}}\nexport: {prefer: smaller}\n"
    )
    asked: list[int] = []

    def export_trial(plan: object, paths: object, state: object, number: int, partial: Path, *more: object) -> object:
        asked.append(number)
        partial.mkdir(parents=True)
        return SimpleNamespace(verified={}, formats=())

    monkeypatch.setattr("sweep_runner.execution.publishing.export_trial.export_trial", export_trial)
    monkeypatch.setattr("sweep_runner.cli.remote.bring_checkpoint", lambda *of: None)
    assert main(["export", "balls", "--results", str(tmp_path)]) == 0
    assert "prefer: smaller: trial 3 is published" in capsys.readouterr().err
    assert main(["export", "balls", "best", "--results", str(tmp_path)]) == 0
    assert asked == [3, 4]


@pytest.mark.ray
def test_a_sweeps_models_are_exported_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a real sweep: the best model by the sweep's name, another trial's on request, when the data has changed.

    The classes `cat, dog` become `dog, zebra`: another order, and the model's first class is still `cat`.
    """
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.random.default_rng((len(name), number)).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "tiny.yaml").write_text(
        "name: tiny\n"
        "data: {dataset: image_folder, root: pictures}\n"
        "fixed: {epochs: 1, input_resolution: 16, model: mlp6, pretrained: false, width: 16}\n"
        "space: {lr: [0.01, 0.001]}\n"
        "search: {trials: 2, sampler: grid}\n"
        "resources: {max_concurrent: 1}\n"
        "dashboard: false\n"
    )
    monkeypatch.setenv("SWEEP_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))

    def told(*arguments: str | Path) -> str:
        assert main([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    done = sweep("run", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    best = Path(told("export", "tiny").strip())
    assert best == tmp_path / "results" / "tiny" / "best"
    trial = json.loads((best / "model.json").read_text())["origin"]["trial"]

    (tmp_path / "pictures" / "cat").rename(tmp_path / "pictures" / "zebra")
    refused = sweep("resume", "tiny", cwd=tmp_path)
    assert refused.returncode == 2
    assert "the data differs from that at the start of the sweep" in refused.stderr
    other = Path(told("export", "tiny", "--trial", str(1 - trial)).strip())
    assert sorted(path.name for path in other.iterdir()) == [
        "README.md",
        "model.json",
        "model.onnx",
        "model.safetensors",
    ]
    card = json.loads((other / "model.json").read_text())
    assert (card["origin"]["trial"], card["classes"]) == (1 - trial, ["cat", "dog"])
    Image.new("L", (8, 8), 99).save(tmp_path / "grey.png")
    rows = [
        json.loads(told("predict", model, tmp_path / "grey.png", "--format", "json")) for model in ("tiny", best, other)
    ]
    assert rows[0] == rows[1] != rows[2]
    assert rows[0][0]["predicted"] in {"cat", "dog"}


def test_paths_come_from_tables_and_from_standard_input(
    color_model: Path, images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (images / "list.csv").write_text("path,note\nred.png,first\ngone.png,missing\n")
    pq.write_table(pa.table({"path": ["green.png"]}), images / "list.parquet")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{images / 'blue.png'}\n"))
    given = [str(images / "list.csv"), str(images / "list.parquet"), "-"]
    assert main(["predict", str(color_model), *given]) == 1  # one of them is gone
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out), delimiter="\t"))[1:]
    assert [row[1] for row in rows] == ["red", "", "green", "blue"]
