"""`sweep evaluate` as a user meets it: a model that tells colours apart, and folders of coloured pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from sweep_runner.cli.main import main
from sweep_runner.results.events import SweepChanged
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.uses_of_test import uses_of_test
from sweep_runner.spec.model import Objective
from tests.conftest import write_color_model
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig

COLORS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "pink": (250, 0, 120)}
MakeFolder = Callable[[Mapping[str, list[str]]], Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "sweep-cache"))


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """One folder per class, with pictures of the colours named, one each."""

    def make(pictures: Mapping[str, list[str]]) -> Path:
        root = tmp_path / "data"
        for name, colors in pictures.items():
            (root / name).mkdir(parents=True)
            for number, color in enumerate(colors):
                Image.new("RGB", (9, 7), COLORS[color]).save(root / name / f"{number}.png")
        return root

    return make


def evaluate(*arguments: str | Path, code: int = 0) -> None:
    assert main(["evaluate", *map(str, arguments)]) == code


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Any:
    evaluate(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_classes_are_matched_by_name_and_figures_are_right(
    color_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    # The folder's classes are in alphabetical order, the model's are red, green, blue.
    data = make_folder({"blue": ["blue", "blue"], "green": ["green"], "red": ["red", "green", "green"]})
    found = as_json(capsys, color_model, data)
    assert (found["split"], found["num_examples"]) == ("all", 6)
    assert found["metrics"]["all_accuracy"] == pytest.approx(4 / 6)
    assert found["metrics"]["all_balanced_accuracy"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert [(row["class"], row["support"]) for row in found["classes"]] == [("red", 3), ("green", 1), ("blue", 2)]
    wrong = [row for row in found["confusions"] if row["actual"] != row["predicted"]]
    assert wrong == [{"label": None, "actual": "red", "predicted": "green", "count": 2, "rate": pytest.approx(2 / 3)}]


def test_a_row_a_metric_for_scripts_and_words_for_people(
    color_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_folder({"blue": ["blue"], "red": ["red", "blue"]})
    evaluate(color_model, data)
    out, err = capsys.readouterr()
    rows = dict(list(csv.reader(io.StringIO(out), delimiter="\t"))[1:])
    assert float(rows["all_accuracy"]) == pytest.approx(2 / 3)
    assert "classes of the model without examples: green" in err
    assert "red → blue (1)" in err


def test_a_class_that_the_model_lacks(
    color_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_folder({"blue": ["blue"], "reds": ["red", "red"], "pink": ["pink"]})
    evaluate(color_model, data, code=2)
    err = capsys.readouterr().err
    lacks = "the model lacks 2 of the data's classes"
    for words in (lacks, "pink: 1 example\n", "the model has 'red'", "--unknown-classes apart"):
        assert words in err
    found = as_json(capsys, color_model, data, "--unknown-classes", "apart")
    assert (found["num_examples"], found["metrics"]["all_accuracy"]) == (1, 1.0)
    assert found["unknown_classes"] == [
        {"class": "pink", "num_examples": 1, "predicted": {"red": 1}},
        {"class": "reds", "num_examples": 2, "predicted": {"red": 2}},
    ]


def test_no_class_in_common(color_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(color_model, make_folder({"pink": ["pink"]}), "--unknown-classes", "apart", code=2)
    assert "no example has a class of the model" in capsys.readouterr().err


def test_a_folder_with_a_test_split_of_its_own(
    color_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_folder(
        {
            "train/red": ["red"] * 10,
            "train/blue": ["blue"] * 10,
            "test/red": ["blue", "red"],
            "test/blue": ["blue", "blue"],
        }
    )
    found = as_json(capsys, color_model, data)
    assert (found["split"], found["num_examples"], found["metrics"]["test_accuracy"]) == ("test", 4, 0.75)
    found = as_json(capsys, color_model, data, "--split", "all")
    assert (found["num_examples"], found["metrics"]["all_accuracy"]) == (24, 23 / 24)
    found = as_json(capsys, color_model, data, "--split", "val")
    assert found["metrics"]["val_accuracy"] == 1.0
    assert found["num_examples"] == 4, "val is cut from train as in a sweep"


def test_a_sweep_file_says_which_data(
    color_model: Path, make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_folder({"blue": ["blue"] * 10, "red": ["red"] * 10})
    file = tmp_path / "colors.yaml"
    file.write_text(f"name: colors\ndata: {{dataset: image_folder, root: {data}}}\nspace: {{lr: [0.1, 0.2]}}\n")
    found = as_json(capsys, color_model, file)
    assert (found["split"], found["num_examples"]) == ("test", 4)
    found = as_json(capsys, color_model, file, "--split", "train", "--set", "data.limit=4")
    assert found["num_examples"] == 4
    evaluate(color_model, file, "--set", "data.rot=x", code=2)
    assert "Did you mean root?" in capsys.readouterr().err


def test_labels_of_any_dataset_with_the_thresholds_of_the_package(
    tmp_path: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = make_folder({"pictures": ["red", "green", "pink", "blue"]}) / "pictures"
    (pictures / "labels.csv").write_text("image,blue,red,night\n0.png,0,1,0\n1.png,0,0,0\n2.png,1,1,0\n3.png,1,0,1\n")
    data = (pictures, "--set", "data.dataset=multilabel_table", "--set", "data.table=labels.csv")
    usual = write_color_model(tmp_path / "usual", multilabel=True)
    # The blue of pink is 120 of 255: sigmoid((120 - 128) / 16) = 0.38.
    lower = write_color_model(tmp_path / "lower", multilabel=True, threshold=(0.5, 0.5, 0.3))
    evaluate(usual, *data, code=2)
    assert "night: 1 example\n" in capsys.readouterr().err
    found = as_json(capsys, usual, *data, "--unknown-classes", "apart")
    assert found["num_examples"] == 4
    assert found["metrics"]["all_exact_match"] == 0.5, "green is said of 1.png, blue is not of 2.png"
    found = as_json(capsys, lower, *data, "--unknown-classes", "apart")
    assert found["metrics"]["all_exact_match"] == 0.75
    assert [row["threshold"] for row in found["classes"]] == [0.5, 0.5, 0.3]
    assert main(["predict", str(lower), str(pictures / "2.png"), "--format", "tsv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t")
    assert json.loads(row["predicted"]) == ["red", "blue"]


def test_a_table_is_read_for_the_model(
    color_labels_model: Path, color_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = make_folder({"pictures": ["red", "blue"]})
    (pictures / "labels.csv").write_text("image,label\n0.png,red\n1.png,blue\n")
    for model in (color_labels_model, color_model):
        assert as_json(capsys, model, pictures)["num_examples"] == 2
    (pictures / "labels.csv").write_text("image,blue,red\n0.png,0,1\n1.png,1,0\n")
    for model in (color_labels_model, color_model):
        assert as_json(capsys, model, pictures)["num_examples"] == 2


def test_one_class_against_any_number_of_labels(
    color_labels_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(color_labels_model, make_folder({"red": ["red"], "blue": ["blue"]}), code=2)
    assert "they cannot be compared" in capsys.readouterr().err


@pytest.mark.parametrize("file_format", ["tsv", "json", "parquet"])
def test_tables_and_figures_in_a_folder(
    color_model: Path, make_folder: MakeFolder, tmp_path: Path, file_format: str
) -> None:
    data = make_folder({"blue": ["blue", "red"], "red": ["red"]})
    folder = tmp_path / "out" / "here"
    evaluate(color_model, data, "--output", folder, "--format", file_format, "--quiet")
    tables = {f"{name}.{file_format}" for name in ("predictions", "classes", "confusions", "coverage")}
    figures = {f"{name}.png" for name in ("confusion", "pairs", "classes", "calibration")}
    assert {path.name for path in folder.iterdir()} == tables | figures | {"metrics.json"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["metrics"]["all_accuracy"] == pytest.approx(2 / 3)
    if file_format == "parquet":
        rows = pq.read_table(folder / "predictions.parquet").to_pylist()
        assert [(row["example"], row["predicted"]) for row in rows][1] == ("blue/1.png", ["red"])


def test_figures_of_labels(color_labels_model: Path, make_folder: MakeFolder, tmp_path: Path) -> None:
    pictures = make_folder({"pictures": ["red", "green", "pink"]}) / "pictures"
    (pictures / "labels.csv").write_text("image,blue,red\n0.png,0,1\n1.png,0,0\n2.png,1,1\n")
    data = (pictures, "--set", "data.dataset=multilabel_table", "--set", "data.table=labels.csv")
    evaluate(color_labels_model, *data, "--output", tmp_path / "out")
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == {"confusion", "pairs", "classes", "calibration"}


def test_a_broken_picture_is_named_and_left_out(
    color_model: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_folder({"blue": ["blue"], "red": ["red"]})
    (data / "red" / "broken.png").write_bytes(b"no picture")
    found = as_json(capsys, color_model, data)
    assert found["num_examples"] == 2
    assert [entry["name"] for entry in found["left_out"]] == ["red/broken.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{model}", "{data}/gone"], "no such folder or sweep file"),
        (["{model}", "gone"], "no sweep"),
        (["{data}", "{data}"], "holds no model.onnx"),
        (["{model}", "{data}/red"], "no dataset is recognised in"),
        (["{model}", "{data}", "--split", "train"], "a class needs"),
        (["{model}", "{data}", "--output", "{data}/red/0.png"], "is not a folder"),
        (["{model}", "{data}", "--set", "data.dataset=voc"], "VOC"),
    ],
)
def test_wrong_requests(
    color_model: Path,
    make_folder: MakeFolder,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    data = make_folder({"blue": ["blue"], "red": ["red"]})
    evaluate(*(argument.format(model=color_model, data=data) for argument in arguments), code=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_a_folder_that_is_called_as_a_sweep_is_told(
    color_model: Path,
    make_folder: MakeFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = make_folder({"blue": ["blue"] * 4, "red": ["red"] * 4})
    monkeypatch.chdir(data.parent)
    told = f"{data.name} is a folder here and the name of a sweep"
    evaluate(color_model, data.name)
    assert told not in capsys.readouterr().err
    sweep = data.parent / "results" / data.name
    sweep.mkdir(parents=True)
    (sweep / "sweep.yaml").write_text(f"name: {data.name}\ndata: {{root: {data}}}\nspace: {{lr: [0.1, 0.2]}}\n")
    evaluate(color_model, data.name)
    assert told in (said := capsys.readouterr().err)
    assert f"results/{data.name}" in said


def test_a_look_at_the_test_split_of_a_sweeps_own_data_is_counted(
    color_model: Path, make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shades = {name: [name] * 10 for name in ("red", "green", "blue")}
    data = make_folder(shades)
    results = ResultsPaths(tmp_path / "results")
    paths = results.sweep("colors")
    paths.root.mkdir(parents=True)
    paths.spec.write_text(
        f"name: colors\ndata: {{dataset: image_folder, root: {data}}}\nspace: {{lr: [0.1, 0.2]}}\n"
        "objective: {metric: val_accuracy, mode: max}\nsearch: {sampler: grid, trials: 2}\n"
    )
    check = DataConfig.model_validate({"dataset": "image_folder", "root": str(data)})
    prepared = prepare_images(check, paths.root, [])
    with Recorder(paths, Objective(), ["lr"], {}) as recorder:
        recorder.record(SweepChanged(time=1.0, state="COMPLETED", data_fingerprint=prepared.fingerprint))

    for split in ("test", "test", "val"):
        evaluate(color_model, "colors", "--split", split, "--results", results.root)
    assert "test split of sweep colors: used once" in capsys.readouterr().err
    # A model of another sweep on the same examples; and other data, which is no use of this sweep's test.
    evaluate(write_color_model(tmp_path / "second"), "colors", "--set", "data.split.seed=5", "--results", results.root)
    assert uses_of_test(results, leaderboard(results, "colors")).evaluated == ("trial 7",)


def test_measures_at_a_threshold_and_with_answers_kept_back(
    color_model: Path, make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_folder({"blue": ["blue"] * 3 + ["pink"], "red": ["red"] * 4})
    evaluate(color_model, data, "--threshold", "0.9", "--confidence", "1", "--output", tmp_path / "out")
    out, err = capsys.readouterr()
    rows = {row["class"]: row for row in csv.DictReader(io.StringIO(out), delimiter="\t")}
    assert (rows["blue"]["sensitivity"], rows["blue"]["specificity"], rows["red"]["specificity"]) == (
        "0.75",
        "1",
        "0.75",
    )
    assert rows["green"]["sensitivity"] == rows["green"]["auroc"] == "", "no example has it: not defined, and not 0"
    assert "no AUROC (no example or every example has it): green" in err
    assert "answering from 1 on: " in err
    assert "no temperature" in err
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())["measures"]
    assert written["top_k_accuracy"] == {"2": 1.0}
    assert written["coverage"][0] == {
        "confidence": 0.0, "coverage": 1.0, "num_answers": 8, "accuracy": 7 / 8,
        "accuracy_low": pytest.approx(0.529, abs=1e-3), "accuracy_high": pytest.approx(0.978, abs=1e-3),
    }  # fmt: skip
    assert (tmp_path / "out" / "coverage.tsv").is_file()
    evaluate(color_model, data, "--threshold", "1.5", code=2)
