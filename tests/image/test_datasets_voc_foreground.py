from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing
from trainables.image.datasets.voc import Voc
from trainables.image.index import ImageIndex
from trainables.image.pixels.decode import open_image
from trainables.image.pixels.examples import open_pixels
from trainables.image.pixels.masks import MEAN_COLOR

Box = tuple[int, int, int, int]
CAT, DOG = 8, 12  # of VOC's palette
SIZE = (40, 30)
ONE, TWO, THREE = (2, 3, 12, 13), (20, 5, 30, 25), (32, 0, 40, 8)


def write_mask(path: Path, parts: Sequence[tuple[int, Box]], size: tuple[int, int] = SIZE) -> None:
    values = np.zeros((size[1], size[0]), dtype=np.uint8)
    for value, (left, top, right, bottom) in parts:
        values[top:bottom, left:right] = value
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(values, mode="P")
    image.putpalette([value for value in range(256) for _ in range(3)])
    image.save(path)


@pytest.fixture
def voc(make_voc: Callable[..., Path]) -> Path:
    """Photo `a` has two dogs and a cat, which its annotation has in another order; `b` a cat; `c` no mask."""
    boxes = {name: (box[0] + 1, box[1] + 1, box[2], box[3]) for name, box in zip("123", (ONE, TWO, THREE), strict=True)}
    root = make_voc(
        {
            "a": [("cat", boxes["3"]), ("dog", boxes["1"]), ("dog", boxes["2"])],
            "b": [("cat", boxes["1"])],
            "c": [("dog", boxes["1"])],
        },
        size=SIZE,
    )
    outline = (255, (11, 3, 12, 13))
    write_mask(root / "SegmentationClass/a.png", [(DOG, ONE), (DOG, TWO), (CAT, THREE), outline])
    write_mask(root / "SegmentationObject/a.png", [(1, ONE), (2, TWO), (3, THREE), outline])
    write_mask(root / "SegmentationClass/b.png", [(CAT, ONE)])
    write_mask(root / "SegmentationObject/b.png", [(1, ONE)])
    return root


def config(root: Path, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"dataset": "voc", "root": root, "view": "foreground", **values})


def listed(root: Path, **values: Any) -> Listing:
    return Voc(config(root, **values)).examples()


def found(listing: Listing) -> dict[str, tuple[str, list[int]]]:
    columns = (listing.table[name].to_pylist() for name in ("example", "labels", "box"))
    return {name: (listing.classes[labels[0]], box) for name, labels, box in zip(*columns, strict=True)}


def test_objects_have_the_class_of_their_pixels(voc: Path) -> None:
    listing = listed(voc)
    assert not listing.multilabel
    assert found(listing) == {
        "JPEGImages/a.jpg#object-1": ("dog", [2, 3, 11, 13]),  # without the outline
        "JPEGImages/a.jpg#object-2": ("dog", list(TWO)),
        "JPEGImages/a.jpg#object-3": ("cat", list(THREE)),
        "JPEGImages/b.jpg#object-1": ("cat", list(ONE)),
    }
    assert listing.table["group"].to_pylist() == ["JPEGImages/a.jpg"] * 3 + ["JPEGImages/b.jpg"]
    mask = listing.table["mask"][1].as_py()
    assert (mask["path"], mask["value"]) == (str(voc / "SegmentationObject/a.png"), 2)


def test_objects_without_class_masks_have_the_class_of_the_box_that_fits(voc: Path) -> None:
    expected = found(listed(voc))
    for path in (voc / "SegmentationClass").iterdir():
        path.unlink()
    assert found(listed(voc)) == expected
    (voc / "Annotations/b.xml").unlink()
    (defect,) = listed(voc).defects
    assert str(defect).startswith("SegmentationObject/b.png: object 1 has no class")


def test_classes_are_all_that_a_photo_shows_of_them(voc: Path) -> None:
    assert found(listed(voc, mask="class")) == {
        "JPEGImages/a.jpg#cat": ("cat", list(THREE)),
        "JPEGImages/a.jpg#dog": ("dog", [2, 3, 30, 25]),
        "JPEGImages/b.jpg#cat": ("cat", list(ONE)),
    }


def test_margin_and_smallest_size(voc: Path) -> None:
    boxes = {name: box for name, (_, box) in found(listed(voc, margin=0.5)).items()}
    assert boxes["JPEGImages/a.jpg#object-2"] == [15, 0, 35, 30]
    listing = listed(voc, min_size=10)
    assert sorted(found(listing)) == ["JPEGImages/a.jpg#object-2", "JPEGImages/b.jpg#object-1"]
    assert "2 objects smaller than data.min_size: 10 left out" in listing.notes


def test_difficult_objects_by_the_setting(voc: Path) -> None:
    annotation = voc / "Annotations/a.xml"
    annotation.write_text(annotation.read_text().replace("<difficult>0", "<difficult>1", 1))  # the cat
    assert "JPEGImages/a.jpg#object-3" not in found(listed(voc))
    assert "JPEGImages/a.jpg#object-3" in found(listed(voc, difficult=True))


@pytest.mark.parametrize(("purpose", "given"), [("Segmentation", True), ("Segmentation", None), ("Main", True)])
def test_lists(voc: Path, purpose: str, given: bool | None) -> None:
    for name, photos in {"train": "a\n", "val": "b\ngone\n"}.items():
        path = voc / f"ImageSets/{purpose}/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(photos)
    write_mask(voc / "SegmentationObject/c.png", [(1, ONE)])
    listing = listed(voc, split={"given": given})
    splits = dict(zip(listing.table["group"].to_pylist(), listing.table["split"].to_pylist(), strict=True))
    if purpose == "Main":
        assert splits["JPEGImages/a.jpg"] == "train"
        return
    assert splits == {"JPEGImages/a.jpg": "train" if given else None, "JPEGImages/b.jpg": "val" if given else None}
    assert [str(each) for each in listing.defects] == [
        "SegmentationObject/gone.png: listed in ImageSets/Segmentation, but missing"
    ]
    assert "1 masks that no list of ImageSets/Segmentation names were passed over" in listing.notes


def test_own_names_of_classes(voc: Path) -> None:
    names = voc / "class_names.txt"
    names.write_text("\n".join(["__ignore__", "_background_", *(f"kind{number}" for number in range(1, 13))]))
    assert listed(voc, mask="class").classes == ("kind12", "kind8")
    names.write_text("_background_\ncell\n")
    with pytest.raises(DataError, match=r"the mask has class 8, but only 1 have names(?s:.*)class_names\.txt"):
        listed(voc, mask="class")
    names.write_text("cell\n")
    with pytest.raises(DataError, match=r"the first line of .*class_names\.txt must be _background_"):
        listed(voc)


def test_mask_of_another_size_is_named_and_counted(voc: Path, tmp_path: Path) -> None:
    write_mask(voc / "SegmentationObject/a.png", [(1, ONE)], size=(30, 30))
    (defect,) = listed(voc).defects
    assert str(defect) == "SegmentationObject/a.png: the mask is 30×30, but its image 40×30"
    with pytest.raises(DataError, match=r"only one class(?s:.*)1 cannot be used(?s:.*)the mask is 30×30"):
        prepare_images(config(voc), tmp_path, [])


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n cut off", None])
def test_masks_that_are_none(voc: Path, content: bytes | None) -> None:
    path = voc / "SegmentationObject/a.png"
    if content is None:
        Image.new("RGB", SIZE).save(path)
    else:
        path.write_bytes(content)
    listing = listed(voc)
    assert len(listing.table) == 1
    assert listing.defects[0].name == "SegmentationObject/a.png"


def test_mask_without_a_picture_and_without_an_object(voc: Path) -> None:
    (voc / "JPEGImages/a.jpg").unlink()
    write_mask(voc / "SegmentationObject/c.png", [])
    listing = listed(voc)
    assert [str(each) for each in listing.defects] == [
        "SegmentationObject/a.png: there is no image for it in JPEGImages"
    ]
    assert "1 photos in whose mask is nothing to use" in listing.notes


def test_no_masks_at_all(voc: Path) -> None:
    (voc / "SegmentationObject").rename(voc / "elsewhere")
    with pytest.raises(DataError, match=r"SegmentationObject, which does not exist, but there is SegmentationClass"):
        listed(voc)


@pytest.fixture
def many(make_voc: Callable[..., Path]) -> Path:
    """Twenty photos with a cat and a dog each."""
    names = [f"p{number:02d}" for number in range(20)]
    root = make_voc({name: [("dog", (3, 4, 12, 13)), ("cat", (21, 6, 30, 25))] for name in names}, size=SIZE)
    for name in names:
        write_mask(root / f"SegmentationClass/{name}.png", [(DOG, ONE), (CAT, TWO)])
        write_mask(root / f"SegmentationObject/{name}.png", [(1, ONE), (2, TWO), (0, (4, 5, 7, 8))])
    return root


@pytest.mark.parametrize("background", ["mean", "black", "blurred"])
@pytest.mark.parametrize("channels", [1, 3])
def test_background_is_painted_over_with_and_without_cache(
    many: Path, tmp_path: Path, background: str, channels: int
) -> None:
    values: dict[str, Any] = {"background": background, "margin": 0.2}
    gathered = []
    for limit in ("1GB", "0"):
        data = config(many, cache_limit_bytes=limit, **values)
        prepare_images(data, tmp_path, [14], [channels])
        index = ImageIndex.load(tmp_path / "index.arrow")
        pixels = open_pixels(index, data, 14, channels)
        gathered.append(pixels.gather(np.arange(len(index.table))))
        pixels.close()
    np.testing.assert_array_equal(gathered[0], gathered[1])
    row = index.table["example"].to_pylist().index("JPEGImages/p03.jpg#object-1")
    assert index.table["box"][row].as_py() == [0, 1, 14, 15]
    picture = gathered[0][row]  # of its own size: nothing is resized
    photo = open_image(many / "JPEGImages/p03.jpg").convert("RGB" if channels == 3 else "L")
    whole = np.asarray(photo).reshape(30, 40, channels)
    inside = np.zeros((14, 14), dtype=bool)
    inside[2:12, 2:12] = True
    inside[4:7, 4:7] = False  # a hole in the mask
    np.testing.assert_array_equal(picture[inside], whole[1:15, 0:14][inside])
    outside = picture[~inside].astype(int)
    if background == "black":
        assert not outside.any()
    elif background == "mean":
        colour = MEAN_COLOR if channels == 3 else [round(np.dot(MEAN_COLOR, [0.299, 0.587, 0.114]))]
        assert np.abs(outside - colour).max() <= 1
    else:
        assert 5 < outside.std() < whole[1:15, 0:14][~inside].std()


def test_mask_of_another_size_is_left_out_or_fatal(many: Path, tmp_path: Path) -> None:
    write_mask(many / "SegmentationObject/p07.png", [(1, ONE), (2, TWO)], size=(40, 31))
    preparation = prepare_images(config(many), tmp_path, [])
    assert sum(preparation.details["examples"].values()) == 38
    assert preparation.details["defects"] == {"SegmentationObject/p07.png": "the mask is 40×31, but its image 40×30"}
    assert preparation.summary["left out"] == "1 that cannot be used"
    with pytest.raises(DataError, match=r"on_unreadable: fail, and 1 cannot be used(?s:.*)p07"):
        prepare_images(config(many, on_unreadable="fail"), tmp_path, [])


def test_background_and_mask_make_other_pixels(many: Path, tmp_path: Path) -> None:
    fingerprints = set()
    for values in ({}, {"background": "black"}, {"mask": "class"}, {"margin": 0.1}):
        fingerprints.add(prepare_images(config(many, **values), tmp_path, []).fingerprint)
    write_mask(many / "SegmentationObject/p07.png", [(1, ONE), (2, TWO)])
    fingerprints.add(prepare_images(config(many), tmp_path, []).fingerprint)
    assert len(fingerprints) == 5


@pytest.mark.parametrize("limit", ["1GB", "0"])
def test_mask_that_changed_after_the_preparation(many: Path, tmp_path: Path, limit: str) -> None:
    data = config(many, cache_limit_bytes=limit)
    prepare_images(data, tmp_path, [])
    index = ImageIndex.load(tmp_path / "index.arrow")
    write_mask(many / "SegmentationObject/p07.png", [(1, ONE), (2, TWO)])
    with pytest.raises(DataError, match=r"p07\.png is not the one that was there"):
        open_pixels(index, data, 14).gather(np.arange(len(index.table)))
