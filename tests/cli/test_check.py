"""`sweep check` and `sweep schema`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweep_runner.cli.main import main

GOOD = """\
name: tried
trainable: synthetic
fixed: {epochs: 9}
space:
  optimizer: [adam, sgd]
  momentum: {low: 0.5, high: 0.9, step: 0.1, when: {optimizer: sgd}}
baselines:
  known: {optimizer: adam}
search: {sampler: grid, trials: 6}
pruner: median
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEP_RESULTS", raising=False)
    Path("s.yaml").write_text(GOOD)


def test_check_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "s.yaml"]) == 0
    text = capsys.readouterr()
    rows = dict(line.split("\t", 1) for line in text.out.splitlines() if line)
    assert rows["momentum"] == "0.5 to 0.9, step 0.1\toptimizer is sgd"
    assert rows["trials"] == "6, 1 of them baselines (known)"
    assert rows["distinct configurations"] == "6"
    assert rows["objective"] == "val_accuracy, max"
    assert rows["epochs"] == "at most 9 per trial"
    assert rows["sampler"] == "grid, seed 0"
    assert rows["pruner"].startswith("median: startup_trials 5")
    assert "s.yaml is valid" in text.err
    assert not Path("results").exists()


def test_check_prints_json_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "s.yaml", "--json", "--quiet", "--set", "search.trials=3"]) == 0
    text = capsys.readouterr()
    plan = json.loads(text.out)
    assert plan["spec"]["search"]["trials"] == 3
    assert plan["grid_size"] == 6
    assert plan["trainable"] == "trainables.synthetic:Synthetic"
    assert plan["warnings"] == ["search.trials stops the grid after 3 of its 6 configurations"]
    assert text.err == "warning: search.trials stops the grid after 3 of its 6 configurations\n"


def test_data_that_is_not_here_is_told_last(capsys: pytest.CaptureFixture[str]) -> None:
    """The file may be meant for another machine: it is valid, and nobody overlooks that it cannot run here."""
    Path("photos.yaml").write_text(
        "name: photos\ndata: {dataset: image_folder, root: gone}\n"
        "fixed: {model: simple_cnn3, pretrained: false, finetune: scratch}\nspace: {lr: [0.01, 0.001]}\n"
    )
    assert main(["check", "photos.yaml"]) == 0
    *_, warning, valid = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: data.root: ")
    assert warning.endswith("gone does not exist on this machine: `sweep run` would end at once here")
    assert valid == "photos.yaml is valid."


def test_check_tells_every_problem_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["check", "s.yaml", "--set", "fixed.epochs=0", "--set", "objective.metric=val_acc"]
    assert main(args) == 2
    text = capsys.readouterr()
    assert text.out == ""
    assert "- --set fixed.epochs=0: fixed.epochs is 0: must be at least 1\n" in text.err
    assert "Did you mean val_accuracy?" in text.err
    assert text.err.endswith("2 problems.\n")


@pytest.mark.parametrize(
    "content", [b"", b"- a", b"\xff\xfe", b"a:\n\tb: 1", b"a: 1\na: 2", b"a: !!python/object:x.y {}", b"{", b"\0", b"*"]
)
def test_damaged_files_end_with_2_and_no_traceback(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_bytes(content)
    assert main(["check", "s.yaml"]) == 2
    assert "s.yaml" in capsys.readouterr().err


def test_a_missing_file_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "t.yaml"]) == 2
    assert "t.yaml: no such file\n    Did you mean s.yaml?" in capsys.readouterr().err


def test_schema_is_printed_or_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["properties"]["name"]["type"] == "string"
    assert main(["schema", "--output", "schema.json"]) == 0
    assert json.loads(Path("schema.json").read_text()) == printed
    assert sorted(path.name for path in Path().iterdir()) == ["s.yaml", "schema.json"]


def test_schema_into_a_missing_folder_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--output", "nowhere/schema.json"]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_check_says_that_this_machine_has_too_few_cpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "s.yaml", "--set", "resources.cpus=100000"]) == 0, "another machine may have them"
    assert "resources.cpus is 100000: this machine has" in capsys.readouterr().err
    assert main(["check", "s.yaml", "--set", "resources.cpus=100000", "--set", "cluster.address=auto"]) == 0
    assert "this machine has" not in capsys.readouterr().err


def test_check_says_that_names_of_classes_need_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("name: x\nspace: {lr: [0.1, 0.2]}\n")
    assert main(["check", "c.yaml"]) == 0
    assert "checks its data.\n" in capsys.readouterr().err
    assert main(["check", "c.yaml", "--set", "data.classes=['0', '1']"]) == 0
    assert "checks its data, and the names of classes in the file.\n" in capsys.readouterr().err
