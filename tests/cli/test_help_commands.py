"""`sweep init`, `doctor` and `completion` as a user meets them."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sweep_runner.cli.main import main
from tests.support.cli import MakePictures, Refused
from tests.support.documents import all_commands
from trainables.image.suggest import sweep as suggesting
from trainables.image.suggest.pace import Machine, Pace, pace_of


@functools.cache
def _measured_once(model: str, resolution: int, machine: Machine) -> Pace:
    return pace_of(model, resolution, 2, machine)  # a class more or less makes no difference


@pytest.fixture(autouse=True)
def _models_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine trains takes `sweep init` seconds per model to find out."""
    monkeypatch.setattr(
        suggesting, "pace_of", lambda model, resolution, classes, machine: _measured_once(model, resolution, machine)
    )


@pytest.mark.parametrize("start", ["--scratch", "--pretrained"])
def test_init_writes_a_file_that_check_takes(
    here: Path, make_pictures: MakePictures, capsys: pytest.CaptureFixture[str], start: str
) -> None:
    make_pictures({"cat": 3, "dog": 30})
    assert main(["init", "pictures", start, "--yes", "--trials", "7"]) == 0
    text = (here / "sweep.yaml").read_text()
    assert "val_macro_f1" in text
    assert main(["check", "sweep.yaml", "--json"]) == 0
    out = capsys.readouterr().out
    spec = json.loads(out[out.index("{") :])["spec"]
    assert (spec["name"], spec["search"]["trials"]) == ("pictures", 7)


def test_init_refuses_what_it_cannot_use(refused: Refused, make_pictures: MakePictures) -> None:
    assert "no such folder" in refused("init", "nowhere", "--yes")
    make_pictures({"cat": 3})
    assert "at least two" in refused("init", "pictures", "--yes")
    make_pictures({"dog": 3})
    assert "gone.pth: there is no such file or folder" in refused("init", "pictures", "--weights", "gone.pth", "--yes")
    Path("sweep.yaml").touch()
    assert "--force" in refused("init", "pictures", "--yes")


def test_init_refuses_what_no_sweep_could_train_on(refused: Refused, make_pictures: MakePictures) -> None:
    """`sweep run` would, after it has read all images."""
    root = make_pictures({"photos": 3})
    names = sorted(path.name for path in root.glob("photos/*"))
    (root / "labels.csv").write_text("file,sea,sky\n" + "\n".join(f"{name},1,1" for name in names) + "\n")
    said = refused("init", "pictures", "--yes")
    assert "1 example to train on and 1 to validate on: at least 2 and 1 are needed" in said
    assert not Path("sweep.yaml").exists()


def test_init_writes_what_it_recognised(
    here: Path, make_pictures: MakePictures, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures({"seg_train/seg_train/cat": 5, "seg_train/seg_train/dog": 5, "seg_test/seg_test/cat": 2})
    (here / "pictures/seg_test/seg_test/dog").mkdir()
    assert main(["init", "pictures", "--scratch"]) == 0
    assert "2: 'cat', 'dog'" in capsys.readouterr().err
    assert main(["data", "check", "sweep.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["class_counts"]) == ["cat", "dog"]
    assert found["examples"]["test"] == 2


def test_init_of_a_table_watches_what_fits_its_labels(
    here: Path, make_pictures: MakePictures, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_pictures({"photos": 12})
    names = sorted(path.name for path in root.glob("photos/*"))
    rows = [f"{name},{'sea|sky' if k % 2 else 'sea' if k % 3 else 'sky'}" for k, name in enumerate(names)]
    (root / "labels.csv").write_text("file,labels\n" + "\n".join(rows) + "\n")
    assert main(["init", "pictures", "--scratch"]) == 0
    text = (here / "sweep.yaml").read_text()
    assert "val_map" in text
    assert "dataset: image_table" in text
    assert main(["check", "sweep.yaml", "--quiet"]) == 0


def test_init_warns_of_a_label_that_every_image_has(
    here: Path, make_pictures: MakePictures, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_pictures({"photos": 12})
    names = sorted(path.name for path in root.glob("photos/*"))
    rows = [f"{name},{('sea|sky', 'sea|sky|sand', 'sea|sand')[k % 3]}" for k, name in enumerate(names)]
    (root / "labels.csv").write_text("file,labels\n" + "\n".join(rows) + "\n")
    assert main(["init", "pictures", "--scratch"]) == 0
    assert "every image has the label 'sea': nothing to learn there" in capsys.readouterr().err


def test_init_warns_of_labels_that_nearly_every_image_has(
    here: Path, make_pictures: MakePictures, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_pictures({"photos": 40})
    names = sorted(path.name for path in root.glob("photos/*"))
    rows = [f"{name},{int(k > 0)},{k % 2}" for k, name in enumerate(names)]
    (root / "labels.csv").write_text("file,sea,sky\n" + "\n".join(rows) + "\n")
    assert main(["init", "pictures", "--scratch"]) == 0
    said = capsys.readouterr().err
    assert "nearly all of 40 images have the label 'sea' (39): a model that always says so is right in most" in said


def test_init_takes_keys_of_the_data_section(
    here: Path, refused: Refused, make_pictures: MakePictures, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures({"cat": 6, "Cat": 4, "dog": 6})
    message = refused("init", "pictures")
    assert "data.rename_classes: {Cat: cat}" in message
    assert "--set data.KEY=VALUE" in message
    assert "Did you mean rename_classes?" in refused("init", "pictures", "--set", "data.rename_class={Cat: cat}")
    assert "init takes keys of the data section only" in refused("init", "pictures", "--set", "search.trials=3")
    assert main(["init", "pictures", "--scratch", "--set", "data.rename_classes={Cat: cat}"]) == 0
    assert "class 'cat' merges 'Cat' (4), 'cat' (6)" in capsys.readouterr().err
    assert "rename_classes: {Cat: cat}" in (here / "sweep.yaml").read_text()
    assert main(["data", "check", "sweep.yaml", "--quiet"]) == 0


def test_init_refuses_two_readings_where_nobody_can_be_asked(refused: Refused, make_pictures: MakePictures) -> None:
    make_pictures({f"{site}/{name}": 3 for site in ("north", "south") for name in ("cat", "dog")})
    message = refused("init", "pictures")
    assert "can be read in 2 ways" in message
    assert '"class_from": "parent"' in message


def test_init_starts_from_scratch_where_no_weights_can_be_had(
    here: Path, make_pictures: MakePictures, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(here / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(here / "empty"))
    monkeypatch.setattr("trainables.image.models.weights.hub_answers", lambda: False)
    make_pictures({"cat": 3, "dog": 30})
    assert main(["init", "pictures"]) == 0
    assert "pretrained: false" in (here / "sweep.yaml").read_text()
    assert "no published weights are on this machine" in capsys.readouterr().err


def test_help_is_whole_sentences() -> None:
    """A text of several lines is easily cut into two strings within a docstring, quotes and all."""
    for path, command in all_commands():
        assert not re.search(r'"\s*\n\s*"', command.help), path
        for option in command.params:
            if isinstance(option, click.Option):
                assert (option.help or "").rstrip().endswith((".", ")")), f"{path} {option.name}"


def test_doctor_says_what_there_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    found = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["torch"]["state"] == "ok"
    assert {"gpus", "memory", "disk of results", "model hub", "extra serve"} <= set(found)


def test_sweeps_and_trials_are_completed(here: Path) -> None:
    for trial in ("0", "1", "12"):
        (here / "results" / "voc-crops" / "trials" / trial).mkdir(parents=True)
    (here / "results" / "voc-crops" / "sweep.yaml").touch()

    def completed(words: str) -> list[str]:
        asked = {"_SWEEP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        command = [sys.executable, "-m", "sweep_runner"]
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert "resume" in completed("sweep res")
    assert completed("sweep resume vo") == ["voc-crops"]
    assert completed("sweep show voc-crops 1") == ["1", "12"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_the_shells(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_SWEEP_COMPLETE={shell}_complete" in capsys.readouterr().out
