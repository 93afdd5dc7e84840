"""A sweep file without a space: the search that `sweep init` would write is taken, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sweep_runner.cli.main import main
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.spec.check import load_plan
from sweep_runner.spec.loader import dump_spec, load_resolved
from tests.support.cli import MakePictures
from trainables.image.suggest import sweep as suggesting
from trainables.image.suggest.pace import Machine, Pace

MINIMAL = "name: photos\ndata: {root: pictures}\n"


@pytest.fixture(autouse=True)
def _a_known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured, and the hub is out of reach: the same suggestion on every machine."""
    monkeypatch.setattr("trainables.image.models.weights.hub_answers", lambda: False)
    monkeypatch.setattr("trainables.image.models.weights.at_hand", lambda pretrained, model: None)
    monkeypatch.setattr(suggesting, "this_machine", lambda: Machine(2, 0))
    monkeypatch.setattr(suggesting, "pace_of", lambda model, size, classes, machine: Pace(500.0, 1500.0, size))


@pytest.fixture
def pictures(here: Path, make_pictures: MakePictures) -> Path:
    return make_pictures({"cat": 20, "dog": 20})


def checked(file: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[dict[str, Any], str]:
    capsys.readouterr()
    assert main(["check", file, "--json", *more]) == 0
    out, said = capsys.readouterr()
    return json.loads(out)["spec"], said


def test_the_minimal_file_gets_the_search_that_init_writes(
    here: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("minimal.yaml").write_text(MINIMAL)
    taken, said = checked("minimal.yaml", capsys)
    assert main(["init", "pictures", "--name", "photos"]) == 0
    written, silent = checked("sweep.yaml", capsys)
    assert taken == written
    assert taken["space"]["lr"]["log"] is True
    assert taken["pruner"]["kind"] == "promotion"
    assert taken["baselines"]
    assert "minimal.yaml has no space" in said
    assert "lr: {low:" in said
    assert "no space" not in silent


def test_splits_that_would_mislead_are_told_and_the_file_has_better_ones(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for name, count in (("cat", 40), ("dog", 12)):
        (here / "photos" / name).mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(random.integers(0, 256, (48, 40, 3), dtype=np.uint8))
            image.save(here / "photos" / name / f"{number}.png")
            if name == "cat":
                image.transpose(Image.Transpose.ROTATE_90).save(here / "photos" / name / f"{number}-turned.png")
    assert main(["init", "photos"]) == 0
    said = capsys.readouterr().err
    assert "'dog' has 2 examples in val: one more or less right changes its recall by 0.5" in said
    assert "the splits leak" in said
    assert "keeps such groups in one split (the file that is written does so)" in said
    text = Path("sweep.yaml").read_text()
    assert "\n  split: {group_by: near_duplicates} " in text
    assert "# split: {folds: 5, group_by: near_duplicates}" in text
    assert main(["data", "check", "sweep.yaml"]) == 0
    said = capsys.readouterr().err
    assert "'dog' has" in said
    assert "leak" not in said


def test_what_the_file_says_stays(here: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(
        MINIMAL
        + "fixed: {model: cnn4, epochs: 2}\nsearch: {trials: 5}\npruner: median\nobjective: {metric: val_loss}\n"
    )
    spec, said = checked("s.yaml", capsys)
    assert (spec["fixed"]["model"], spec["fixed"]["epochs"]) == ("cnn4", 2)
    assert "model" not in spec["space"]
    assert (spec["search"]["trials"], spec["pruner"]["kind"]) == (5, "median")
    assert spec["objective"]["metric"] == "val_loss"
    assert "pruner" not in said


def test_conditions_that_a_fixed_key_decides_are_resolved(
    here: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "resnet18.pth").touch()
    Path("s.yaml").write_text(MINIMAL + "fixed: {pretrained: resnet18.pth}\n")
    both, _ = checked("s.yaml", capsys)
    assert both["space"]["augment"]["when"] == {"finetune": ["full"]}
    head, _ = checked("s.yaml", capsys, "--set", "fixed.finetune=head")
    assert "augment" not in head["space"]
    full, _ = checked("s.yaml", capsys, "--set", "fixed.finetune=full")
    assert not full["space"]["augment"]["when"]


@pytest.mark.parametrize("more", ["space: {}\n", "search: {trials: 1}\n"])
def test_one_trial_may_be_meant(here: Path, pictures: Path, capsys: pytest.CaptureFixture[str], more: str) -> None:
    Path("s.yaml").write_text(MINIMAL + more)
    spec, said = checked("s.yaml", capsys)
    assert spec["space"] == {}
    assert "The sweep uses this one" not in said


def test_a_sweep_goes_on_with_the_space_that_it_had(
    here: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("s.yaml").write_text(MINIMAL)
    recorded = ResultsPaths(here / "results").sweep("photos").spec
    recorded.parent.mkdir(parents=True)
    recorded.write_text(dump_spec(load_plan(Path("s.yaml")).spec))
    before = load_resolved(recorded).spec
    # Another machine, on which something else would be suggested.
    monkeypatch.setattr(suggesting, "pace_of", lambda model, size, classes, machine: Pace(0.5, 1.5, size))
    assert load_plan(Path("s.yaml")).spec != before
    assert load_plan(recorded, resolved=True).spec == before
    assert load_plan(Path("s.yaml"), before=before).spec == before
    longer = load_plan(Path("s.yaml"), ["search.trials=33"], before=before).spec
    assert (longer.search.trials, longer.space) == (33, before.space)


def test_check_lists_only_settings_that_the_layout_has(
    here: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text(MINIMAL)
    assert main(["check", "s.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "data.split.train" in shown
    for other in ("box_origin", "difficult", "margin", "mask", "background", "download"):
        assert f"data.{other}" not in shown
    assert "data.max_pixels" not in shown
    assert "other settings at their defaults" in shown
    assert main(["check", "s.yaml", "--set", "data.max_pixels=5000"]) == 0
    assert "data.max_pixels\t5000" in capsys.readouterr().out


def test_more_minutes_are_used(here: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.image.data_config import DataConfig

    monkeypatch.setattr(suggesting, "pace_of", lambda model, size, classes, machine: Pace(10.0, 30.0, size))
    data = DataConfig(root=pictures)
    quick, long = (suggesting.suggest_sweep(data, minutes=minutes) for minutes in (1, 600))
    assert quick.fixed["epochs"] < long.fixed["epochs"]
    assert len(quick.space["model"]) < len(long.space["model"])
    assert any("--minutes" in line for line in quick.said)
    assert not any("--minutes" in line for line in long.said)


def test_weights_are_named_after_their_models(here: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "weights").mkdir()
    for name in ("resnet18.pth", "mobilenetv2_100_imagenet.safetensors", "mine.pth"):
        (here / "weights" / name).touch()
    assert main(["init", "pictures", "--weights", "weights"]) == 0
    said = capsys.readouterr().err
    assert "2 of 3 files are of known models; ignored, as no model's name begins theirs: mine.pth" in said
    spec, _ = checked("sweep.yaml", capsys)
    assert spec["space"]["model"]["values"] == ["resnet18", "mobilenetv2_100"]
    (here / "resnet18_imagenet.pth").touch()
    assert main(["init", "pictures", "--weights", "resnet18_imagenet.pth", "--force"]) == 0
    spec, _ = checked("sweep.yaml", capsys)
    assert spec["space"]["model"]["values"] == ["resnet18"]
    assert main(["init", "pictures", "--weights", "weights/mine.pth", "--force"]) == 2
    assert "resnet18_imagenet.pth" in capsys.readouterr().err
