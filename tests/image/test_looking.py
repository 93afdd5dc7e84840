"""The closer look at a data set: what it finds among pictures that were made to be found."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter, ImageOps

from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.looking.copies import find_copies
from trainables.image.looking.doubts import judge
from trainables.image.looking.embedding import choose_embedding, colours_and_edges
from trainables.image.looking.look import look_at, sample_rows
from trainables.image.looking.tiles import seen_config
from trainables.image.looking.traits import measure
from trainables.image.trainable import ImageClassifier
from trainables.look import Section

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}
_EACH = 12


def pattern(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of one colour with patches of its own."""
    random = np.random.default_rng(seed)
    patches = np.clip(np.array(colour) + random.integers(-40, 40, (8, 10, 1)), 0, 255).astype(np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.NEAREST)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three colours; among the red pictures a blue one, a black, a white, a blank, a blurred and a long one."""
    root = tmp_path / "pictures"
    for place, (name, colour) in enumerate(COLOURS.items()):
        (root / name).mkdir(parents=True)
        for number in range(_EACH):
            pattern(colour, 100 * place + number).save(root / name / f"{number:02}.png")
    night = pattern((20, 20, 20), 902).point(lambda level: level * 3 // 4)
    odd = {
        "mislabelled": pattern(COLOURS["blue"], 901),
        "dark": night,
        "bright": ImageOps.invert(night),
        "blank": Image.new("RGB", (48, 40), COLOURS["red"]),
        "blurred": pattern(COLOURS["red"], 904).filter(ImageFilter.GaussianBlur(5)),
        "long": pattern(COLOURS["red"], 905, (200, 20)),
    }
    for name, picture in odd.items():
        picture.save(root / "red" / f"{name}.png")
    pattern(COLOURS["green"], 100).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "green" / "copy.png")
    return root


def look(root: Path, folder: Path, candidates: dict[str, list[Any]] | None = None) -> dict[str, Section]:
    trainable = ImageClassifier(DataConfig(dataset="image_folder", root=root), folder)
    return {each.key: each for each in trainable.look_at_data(candidates or {}, trainable.check_data())}


def test_what_was_made_to_be_found_is_found(root: Path, tmp_path: Path) -> None:
    sections = look(root, tmp_path / "work", {"input_resolution": [16, 32], "resize": ["crop"], "augment": ["none"]})
    odd = {row.name.partition(" (")[0]: [tile.title for tile in row.tiles] for row in sections["odd"].tiles}
    assert odd["1 dark"] == ["red/dark.png"]
    assert odd["1 bright"] == ["red/bright.png"]
    assert odd["1 blank"] == ["red/blank.png"]
    assert odd["1 blurred"] == ["red/blurred.png"]
    assert odd["1 of odd shape"] == ["red/long.png"]

    doubts = sections["doubts"]
    assert "colours and edges" in doubts.text
    assert "red/mislabelled.png" in [tile.title for tile in doubts.tiles[0].tiles]
    (mislabelled,) = [tile for tile in doubts.tiles[0].tiles if tile.title == "red/mislabelled.png"]
    assert mislabelled.caption.startswith("“red” → “blue”")

    copies = [{tile.title for tile in row.tiles} for row in sections["duplicates"].tiles]
    assert {"green/00.png", "green/copy.png"} in copies

    classes = {row[0]: row[-1] for row in sections["classes"].rows}
    assert classes == {"blue": 12, "green": 13, "red": 18}
    samples = sections["samples"]
    assert "the middle 32×32" in samples.text
    assert [row.name for row in samples.tiles] == ["blue", "green", "red"]
    assert all(tile.picture.startswith(b"\xff\xd8") for row in samples.tiles for tile in row.tiles)
    assert "augmentation" not in sections


def test_changed_training_examples_are_shown(root: Path, tmp_path: Path) -> None:
    sections = look(root, tmp_path / "work", {"augment": ["none", "light"], "input_resolution": [32]})
    rows = sections["augmentation"].tiles
    assert all(len({tile.title for tile in row.tiles}) == 1 for row in rows)
    assert all(len({tile.picture for tile in row.tiles}) > 2 for row in rows)
    assert seen_config({"augment": ["none", "light"], "input_resolution": [32, 64]}) == ImageConfig(
        augment="light", input_resolution=64
    )


def test_data_with_any_number_of_labels(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    rows = ["file,blue,red"]
    for number in range(40):
        blue, red = number % 2, number // 2 % 2
        halves = [COLOURS["blue" if blue else "green"], COLOURS["red" if red else "green"]]
        picture = Image.new("RGB", (48, 40))
        for place, colour in enumerate(halves):
            picture.paste(pattern(colour, 2 * number + place, (24, 40)), (24 * place, 0))
        picture.save(tmp_path / "photos" / f"{number:02}.png")
        rows.append(f"{number:02}.png,{0 if number == 7 else blue},{red}")
    (tmp_path / "photos" / "labels.csv").write_text("\n".join(rows))
    data = DataConfig(dataset="multilabel_table", root=tmp_path / "photos", table="labels.csv")  # type: ignore[arg-type]
    trainable = ImageClassifier(data, tmp_path / "work")
    sections = {each.key: each for each in trainable.look_at_data({}, trainable.check_data())}
    first = sections["doubts"].tiles[0].tiles[0]
    assert first.title == "07.png"
    assert first.caption.startswith("lacks “blue”")


def test_of_many_examples_rare_classes_are_all_in_the_sample() -> None:
    labels = [0] * 950 + [1] * 45 + [2] * 5
    rows = [
        {"example": str(number), "path": "x", "labels": [label], "group": str(number), "split": "train"}
        for number, label in enumerate(labels)
    ]
    index = ImageIndex(pa.Table.from_pylist(rows, schema=SCHEMA), ("a", "b", "c"), False, "")
    sample = sample_rows(index, 100)
    assert np.bincount(np.array(labels)[sample]).tolist() == [50, 45, 5]
    assert (np.diff(sample) > 0).all()
    assert sample_rows(index, 1000).tolist() == list(range(1000))


def test_a_sample_is_said(root: Path, tmp_path: Path) -> None:
    data = DataConfig(dataset="image_folder", root=root)
    trainable = ImageClassifier(data, tmp_path / "work")
    preparation = trainable.check_data()
    index = ImageIndex.load(tmp_path / "work" / "index.arrow")
    sections = {each.key: each for each in look_at(index, data, {}, preparation, most=30)}
    for key in ("sizes", "odd", "doubts"):
        assert "a sample of 30 of 43 examples" in sections[key].text


def test_labels_that_nothing_can_be_learned_from_are_not_doubted() -> None:
    random = np.random.default_rng(0)
    judged = judge(random.normal(size=(60, 8)).astype(np.float32), np.arange(60) % 2, [str(k) for k in range(60)])
    assert judged is not None
    assert judged.accuracy < 0.7
    assert judge(np.zeros((4, 3), np.float32), np.zeros(4, np.int64), list("abcd")) is None


def test_near_duplicates_do_not_vouch_for_each_other() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(80, 8)).astype(np.float32) * 0.1
    labels = np.arange(80) % 2
    vectors[:, 0] += labels
    # Two copies with the same wrong label, each of which would agree with the other.
    vectors[[10, 12]] = random.normal(size=8) * 0.1
    vectors[[10, 12], 0] += 1
    groups = [str(k) for k in range(80)]
    groups[12] = "10"
    judged = judge(vectors, labels, groups)
    assert judged is not None
    assert {doubt.example for doubt in judged.doubts[:2]} == {10, 12}


def test_weights_that_are_here_make_the_features(tmp_path: Path) -> None:
    import torch

    from trainables.image.models.factory import build_model

    config = ImageConfig(model="mobilenetv3_small_050", input_resolution=32)
    torch.save(build_model(config, 5).state_dict(), tmp_path / "weights.pth")
    candidates: dict[str, list[Any]] = {
        "model": ["resnet10t", "mobilenetv3_small_050"],
        "pretrained": [str(tmp_path / "weights.pth")],
        "input_resolution": [32],
    }
    chosen = choose_embedding(candidates)
    assert chosen.name == "mobilenetv3_small_050 (weights.pth), 32 px"
    assert chosen.compute(np.zeros((3, 32, 32, 3), np.uint8)).shape[0] == 3
    assert "colours and edges" in choose_embedding({**candidates, "pretrained": [False]}).name
    assert "colours and edges" in choose_embedding({**candidates, "pretrained": [str(tmp_path / "gone.pth")]}).name


def test_measures_do_not_depend_on_the_resolution_of_a_photo() -> None:
    picture = pattern(COLOURS["red"], 1, (400, 320))
    large = measure(picture.resize((1600, 1280), Image.Resampling.NEAREST))
    small = measure(picture)
    assert large[2:] == pytest.approx(small[2:], rel=0.2)
    assert measure(Image.new("L", (1, 1), 9))[2:] == (9, 0, 0)
    assert colours_and_edges(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, 192)


def test_copies_of_a_photo_are_shown_whole_and_judged_together(make_voc: Callable[..., Path], tmp_path: Path) -> None:
    root = make_voc({f"p{number}": [("a", (1, 1, 9, 9)), ("b", (12, 12, 30, 28))] for number in range(10)})
    (root / "JPEGImages/p1.jpg").write_bytes((root / "JPEGImages/p0.jpg").read_bytes())
    trainable = ImageClassifier(DataConfig(dataset="voc", root=root, view="crops"), tmp_path / "work")
    preparation = trainable.check_data()
    index = ImageIndex.load(tmp_path / "work" / "index.arrow")
    copies = find_copies(index, preparation.details["near_duplicates"])
    assert {name: len(copy.rows) for name, copy in copies.items()} == {"JPEGImages/p0.jpg": 2, "JPEGImages/p1.jpg": 2}
    sections = {each.key: each for each in trainable.look_at_data({}, preparation)}
    tiles = sections["duplicates"].tiles[0].tiles
    assert [tile.caption.partition(" (")[0] for tile in tiles] == ["2 examples", "2 examples"]
    assert Image.open(io.BytesIO(tiles[0].picture)).size == (80, 60)  # the whole photo of 40×30, enlarged
