"""Data and weight files that cannot be used, through `sweep run` and `sweep data check`."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from sweep_runner.cli.main import main
from sweep_runner.execution.driver import preparing, run
from sweep_runner.execution.evaluation.assistant import Assistant
from tests.support.assistants import AssistantHere
from tests.support.cli import IMAGES, MakePictures, Refused

COMMANDS = (["run"], ["data", "check"])


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """These run, and read, in the process of the tests, where Ray must not start, however long reading takes."""
    monkeypatch.setattr(preparing, "_LISTING_S", 600.0)
    monkeypatch.setattr(run, "Assistant", AssistantHere)


@pytest.fixture(autouse=True)
def _files(here: Path) -> None:
    Path("images.yaml").write_text(IMAGES)
    Path("voc.yaml").write_text(IMAGES.replace("dataset: image_folder", "dataset: voc, view: crops"))


@pytest.mark.parametrize("command", COMMANDS)
def test_data_that_is_not_there(command: list[str], refused: Refused) -> None:
    told = refused(*command, "images.yaml")
    assert f"data.root: {Path('pictures').absolute()} does not exist" in told
    assert "/pictures/<class>/*.jpg" in told
    Path("pictures").write_text("a file")
    assert "pictures is not a folder" in refused(*command, "images.yaml")
    told = refused(*command, "voc.yaml", "--set", "data.root=voc")
    for words in ("Annotations/*.xml", f"{Path('voc').absolute()}  (does not exist)", "--set data.download=true"):
        assert words in told
    assert "VOCtrainval_11-May-2012.tar" in told, "how to put it there by hand"


def test_data_that_is_not_there_is_told_before_weights_are_looked_for(refused: Refused) -> None:
    settings = ("space.model=[mobilenetv3_small_100]", "fixed.pretrained=true", "fixed.finetune=full")
    told = refused("run", "voc.yaml", *(word for setting in settings for word in ("--set", setting)))
    assert "data.root: no data in VOC layout" in told
    assert "weights" not in told


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, "data.root: no image in "),
        ({"cat": 9}, "only one class, 'cat'"),
        ({"cat": 9, "dog": 1}, "class dog: only one image, but a class needs at least 2"),
    ],
)
def test_too_little_to_learn_from(
    command: list[str], counts: dict[str, int], told: str, make_pictures: MakePictures, refused: Refused
) -> None:
    Path("pictures").mkdir()
    make_pictures(counts)
    assert told in refused(*command, "images.yaml")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_readable_image(command: list[str], make_pictures: MakePictures, refused: Refused) -> None:
    for path in make_pictures({"cat": 3, "dog": 3}).rglob("*.png"):
        path.write_bytes(path.read_bytes()[:40])
    told = refused(*command, "images.yaml")
    assert "none of the 6 examples can be read" in told
    assert "cat/000.png: " in told


def test_a_class_to_balance_that_is_not_there(
    make_pictures: MakePictures, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "Assistant", Assistant)  # as users have it: it reads, and refuses, in a process of its own
    make_pictures({"cat": 9, "dog": 9})
    told = refused("run", "images.yaml", "--set", "data.balance={person: mean}")
    assert "data.balance: no class 'person': the classes are cat, dog" in told


def write_voc(root: Path, boxes: list[str]) -> Path:
    """A photo a box, with a good object of another class beside it. A `box` may also be a whole annotation."""
    from PIL import Image

    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True)
    good = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    for number, box in enumerate([*boxes, *[good] * 12]):
        name = f"p{number:02d}"
        Image.new("RGB", (40, 30), (number * 9, 90, 30)).save(root / "JPEGImages" / f"{name}.jpg")
        objects = "".join(
            f"<object><name>{kind}</name><bndbox>{corners}</bndbox></object>"
            for kind, corners in (("cell", box), ("blob", good))
        )
        text = box if box.startswith("<a") else f"<annotation><filename>{name}.jpg</filename>{objects}</annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)
    return root


BAD = {
    "<annotation><object>": "Annotations/p00.xml: malformed XML",
    "<a><!-- --></b>": "Annotations/p00.xml: malformed XML",
    "<xmin>50</xmin><ymin>1</ymin><xmax>60</xmax><ymax>9</ymax>": "lies outside the image of 40×30",
    "<xmin>5</xmin><ymin>1</ymin><xmax>5</xmax><ymax>9</ymax>": "has no area",
    "<xmin>five</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>": "xmin is 'five', no number",
}


@pytest.mark.parametrize(("box", "told"), BAD.items(), ids=range(len(BAD)))
def test_annotations_that_cannot_be_used(
    box: str, told: str, here: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    write_voc(Path("pictures"), [box])
    assert main(["data", "check", "voc.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f"{name}: {reason}" for name, reason in found["defects"].items() if told in f"{name}: {reason}"]
    assert sum(found["examples"].values()) == (24 if box.startswith("<a") else 25)
    text = refused("run", "voc.yaml", "--set", "data.on_unreadable=fail")
    assert told in text
    assert "--set data.on_unreadable=skip" in text


def test_the_objective_must_fit_the_kind_of_data(here: Path, refused: Refused) -> None:
    write_voc(Path("pictures"), [])
    told = refused("run", "voc.yaml", "--set", "objective={metric: val_map}")
    assert "--set objective={metric: val_map}: objective.metric is 'val_map'" in told
    assert "val_accuracy" in told, "which there are"
    told = refused("run", "voc.yaml", "--set", "objective={metric: val_balanced_accuracy}", "--set", "data.view=images")
    assert "val_map" in told
    told = refused("trial", "voc.yaml", "--set", "objective={metric: val_map}")
    assert "objective.metric is 'val_map'" in told


# Weight files -------------------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def write_weights(kind: str) -> str:
    """A weight file of some kind in the working directory; its name."""
    import timm

    name = "weights.pth"
    if kind == "truncated":
        torch.save(timm.create_model("mobilenetv2_050").state_dict(), "whole.pth")
        Path(name).write_bytes(Path("whole.pth").read_bytes()[:1_000_000])
    elif kind == "of another model":
        torch.save(timm.create_model("resnet10t").state_dict(), name)
    elif kind == "a bomb":
        torch.save({"conv_stem.weight": Bomb()}, name)
    elif kind == "an old bomb":
        Path(name).write_bytes(pickle.dumps(Bomb()))
    elif kind == "no state dict":
        torch.save([1, 2], name)
    elif kind == "empty":
        Path(name).touch()
    elif kind == "text":
        Path("weights.bin").write_text("hello")
        return "weights.bin"
    elif kind == "wrong ending":
        Path("weights.doc").write_text("hello")
        return "weights.doc"
    return name


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "does not exist. Give a weight file "),
        ("truncated", "cannot be read as weights"),
        ("empty", "cannot be read as weights"),
        ("text", "cannot be read as weights"),
        ("of another model", "these are not the weights of mobilenetv2_050: "),
        ("no state dict", "holds no state dict"),
        ("a bomb", "refused, because more than tensors is pickled in it"),
        ("an old bomb", "refused, because more than tensors is pickled in it"),
        ("wrong ending", ".pth, .pt, .bin, .safetensors"),
    ],
)
def test_weight_files_that_cannot_be_used(kind: str, told: str, make_pictures: MakePictures, refused: Refused) -> None:
    make_pictures({"cat": 6, "dog": 6})
    name = write_weights(kind)
    settings = ("space.model=[mobilenetv2_050]", "fixed.finetune=full", f"fixed.pretrained={name}")
    text = refused("run", "images.yaml", *(word for setting in settings for word in ("--set", setting)))
    assert told in text
    assert name in text
    assert not Path("exploded").exists()
