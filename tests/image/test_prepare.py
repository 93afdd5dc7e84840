from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.contract import Preparation
from trainables.errors import DataError
from trainables.image.data.listing import defect_lines
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.example import Defect
from trainables.image.index import ImageIndex
from trainables.image.pixels.decode import decode
from trainables.image.pixels.examples import MappedPixels, open_pixels


def config(root: Path, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"dataset": "image_folder", "root": root, **values})


def read_again(data: DataConfig, folder: Path, resolutions: tuple[int, ...] = (10,)) -> tuple[Preparation, int]:
    """Prepares, and counts the pictures that were decoded."""
    counts = [0]

    def progress(what: str, done: int, total: int) -> None:
        if what == "reading images" and done == total:
            counts[0] += total

    return prepare_images(data, folder, resolutions, progress=progress), counts[0]


def test_digits_need_nothing(tmp_path: Path) -> None:
    preparation = prepare_images(DataConfig(), tmp_path, [8])
    index = ImageIndex.load(tmp_path / "index.arrow")
    assert len(index.table) == 1797
    assert index.fingerprint == preparation.fingerprint
    assert [len(index.rows(split)) for split in ("train", "val", "test")] == pytest.approx([1150, 287, 360], abs=5)
    assert not preparation.warnings
    assert "10 (0, 1, 2" in preparation.summary["classes"]
    json.dumps(preparation.details)


def test_cache_is_filled_for_every_resolution_and_used(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    data = config(make_folder({"a": 9, "b": 9}))
    preparation = prepare_images(data, tmp_path, [12, 10, 12], channels=[1, 3])
    places = preparation.details["pixels"]
    assert places == dict.fromkeys(("10×10×1", "10×10×3", "12×12×1", "12×12×3"), "in the cache")
    index = ImageIndex.load(tmp_path / "index.arrow")
    told: list[str] = []
    for resolution, channels in ((10, 1), (12, 3)):
        pixels = open_pixels(index, data, resolution, channels, progress=lambda *each: told.append(each[0]))
        assert isinstance(pixels, MappedPixels)
        first = decode(Path(index.table["path"][0].as_py()), resolution=resolution, channels=channels)
        assert (pixels.gather(np.array([0]))[0] == first).all()
    assert not told


def test_second_run_decodes_nothing_and_a_changed_file_alone_is_looked_at(
    make_folder: Callable[..., Path], make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    data = config(make_folder({"a": 20, "b": 20}))
    first, decoded = read_again(data, tmp_path)
    assert decoded == 40
    assert read_again(data, tmp_path) == (first, 0)
    os.utime(data.root / "a/003.png")  # type: ignore[operator]
    again, decoded = read_again(data, tmp_path)
    assert (again.fingerprint, decoded) == (first.fingerprint, 1)
    make_picture(data.root / "a/003.png", seed=777)  # type: ignore[operator]
    changed, decoded = read_again(data, tmp_path)
    assert changed.fingerprint != first.fingerprint
    assert decoded == 41  # the new one, and then all for the new cache file


def test_fingerprint_is_of_what_is_used_not_of_where_it_lies(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 9, "b": 9})

    def fingerprint(root: Path, **values: Any) -> str:
        return prepare_images(config(root, **values), tmp_path, []).fingerprint

    before = fingerprint(root)
    shutil.copytree(root, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == before
    assert fingerprint(root, split={"seed": 1}) != before
    assert fingerprint(root, classes=["b", "a"]) != before
    (root / "a/000.png").rename(root / "b/100.png")
    assert fingerprint(root) != before


def test_unreadable_files_are_named_and_left_out_or_fatal(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 12, "b": 12})
    prepare_images(config(root), tmp_path, [])
    before = dict(
        zip(
            *(ImageIndex.load(tmp_path / "index.arrow").table[c].to_pylist() for c in ("example", "split")), strict=True
        )
    )
    (root / "a/003.png").write_bytes((root / "a/003.png").read_bytes()[:200])
    (root / "b/004.png").write_bytes(b"")
    data = config(root)
    preparation = prepare_images(data, tmp_path, [10])
    (warning,) = preparation.warnings
    assert "2 left out" in warning
    assert "b/004.png: the file is empty" in warning
    assert set(preparation.details["defects"]) == {"a/003.png", "b/004.png"}
    index = ImageIndex.load(tmp_path / "index.arrow")
    after = dict(zip(*(index.table[c].to_pylist() for c in ("example", "split")), strict=True))
    assert after == {name: split for name, split in before.items() if name not in ("a/003.png", "b/004.png")}
    pixels = open_pixels(index, data, 10)
    assert isinstance(pixels, MappedPixels)
    for row in range(len(index.table)):
        assert (
            pixels.gather(np.array([row]))[0] == decode(Path(index.table["path"][row].as_py()), resolution=10)
        ).all()
    with pytest.raises(DataError, match=r"(?s)on_unreadable: fail, and 2 cannot be used:.*a/003\.png.*skip"):
        prepare_images(config(root, on_unreadable="fail"), tmp_path, [10])


def test_file_that_becomes_readable_is_used_again(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 20, "b": 20})
    good = (root / "a/003.png").read_bytes()
    stat = (root / "a/003.png").stat()
    (root / "a/003.png").write_bytes(b"")
    assert prepare_images(config(root), tmp_path, [10]).warnings
    (root / "a/003.png").write_bytes(good)
    os.utime(root / "a/003.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not prepare_images(config(root), tmp_path, [10]).warnings


def test_malformed_annotations_count_as_unreadable(
    make_voc: Callable[..., Path], annotate: Callable[..., None], tmp_path: Path
) -> None:
    root = make_voc({f"p{k}": [("a", (1, 1, 9, 9)), ("b", (2, 2, 9, 9))] for k in range(12)})
    (root / "Annotations/p3.xml").write_text("<annotation>")
    annotate(root / "Annotations/p4.xml", [("a", (100, 100, 120, 120))], size=(40, 30))  # outside of the photo
    data = DataConfig(dataset="voc", root=root, view="crops")
    preparation = prepare_images(data, tmp_path, [10])
    assert list(preparation.details["defects"]) == ["Annotations/p3.xml", "Annotations/p4.xml, object 1"]
    assert "lies outside the image of 40×30" in preparation.details["defects"]["Annotations/p4.xml, object 1"]
    assert preparation.details["examples"] == {"train": 12, "val": 4, "test": 4}
    assert prepare_images(data, tmp_path, [10]).fingerprint == preparation.fingerprint
    with pytest.raises(DataError, match=r"p3\.xml: malformed XML"):
        prepare_images(data.model_copy(update={"on_unreadable": "fail"}), tmp_path, [10])


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"a": 5}, "only one class, 'a'"),
        ({"a": 5, "b": 1}, "class b: only one image"),
        ({}, "no image in"),
    ],
)
def test_data_that_nothing_can_be_learned_from(
    make_folder: Callable[..., Path], tmp_path: Path, counts: dict[str, int], says: str
) -> None:
    root = make_folder(counts)
    root.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=says):
        prepare_images(config(root), tmp_path, [10])
    assert not (tmp_path / "index.arrow").exists()


def test_no_readable_image(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 9, "b": 9})
    for path in root.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"none of the 18 examples can be read(?s:.*)a/000\.png: not an image(?s:.*)and 8 more"
    ):
        prepare_images(config(root), tmp_path, [10])


def test_class_whose_training_pictures_all_broke(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({f"{split}/{name}": 3 for split in ("train", "val", "test") for name in ("a", "b")})
    for path in (root / "train/b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"no example of class b is left in train(?s:.*)train/b/000\.png: the file is empty"
    ):
        prepare_images(config(root), tmp_path, [10])


def test_some_classes_only(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 9, "b": 9, "rare": 1})
    preparation = prepare_images(config(root, classes=["b", "a"]), tmp_path, [10])
    index = ImageIndex.load(tmp_path / "index.arrow")
    assert index.classes == ("b", "a")
    assert [name[0] for name in index.table["example"].to_pylist()] == ["b" if t == 0 else "a" for t in index.targets]
    assert "1 examples of classes that data.classes does not list" in preparation.summary["notes"]
    with pytest.raises(DataError, match=r"no class 'rear' \(did you mean rare\?\)"):
        prepare_images(config(root, classes=["a", "rear"]), tmp_path, [10])


def test_some_labels_only_of_many(make_voc: Callable[..., Path], tmp_path: Path) -> None:
    both = [("a", (1, 1, 9, 9)), ("b", (2, 2, 9, 9))]
    root = make_voc({f"p{k}": both if k % 2 else both[1:] for k in range(12)})
    prepare_images(DataConfig(dataset="voc", root=root, classes=("a",)), tmp_path, [10])
    index = ImageIndex.load(tmp_path / "index.arrow")
    assert len(index.table) == 12
    assert index.targets.sum() == 6


def test_one_cap_for_every_class(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 50, "b": 10})
    for written in ("min", {"strategy": "sampler", "caps": "min"}):
        preparation = prepare_images(config(root, balance=written), tmp_path, [])
        assert {counts["train"] for counts in preparation.details["class_counts"].values()} == {6}
    preparation = prepare_images(config(root, balance="class_weights"), tmp_path, [])
    assert preparation.details["class_weights"] == {"a": 0.5938, "b": 3.167}
    assert preparation.summary["class weights"] == "a 0.5938, b 3.167"
    with pytest.raises(DataError, match=r"data\.balance: no class 'c'"):
        prepare_images(config(root, balance={"c": "mean"}), tmp_path, [])


def test_balance_and_limit_are_shown(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 50, "b": 10})
    preparation = prepare_images(config(root, balance={"a": "mean"}), tmp_path, [])
    assert preparation.details["class_counts"]["a"]["train"] == 19
    assert preparation.summary["balance"] == "in train: a 32 → 19"
    limited = prepare_images(config(root, limit=6), tmp_path, [])
    assert limited.details["examples"] == {"train": 6, "val": 6, "test": 6}


def test_cache_without_room_is_a_warning(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 9, "b": 9})
    preparation = prepare_images(config(root, cache_limit_bytes="10kB"), tmp_path, [10, 64])
    assert preparation.details["pixels"] == {"10×10×3": "in the cache", "64×64×3": "decoded again each epoch"}
    assert "64×64×3" in preparation.warnings[0]
    assert "cache_limit_bytes" in preparation.warnings[0]
    off = prepare_images(config(root, cache_limit_bytes=0), tmp_path, [10])
    assert off.details["pixels"] == {"10×10×3": "decoded again each epoch"}
    assert not off.warnings


def test_cache_dir_that_cannot_be_made(make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: Any) -> None:
    root = make_folder({"a": 9, "b": 9})
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"data\.cache_dir: .*file cannot be used"):
        prepare_images(config(root, cache_dir=tmp_path / "file"), tmp_path, [10])
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "file"))
    assert "no cache in" in prepare_images(config(root), tmp_path, [10]).warnings[0]


def test_two_at_once_build_once(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    data = config(make_folder({"a": 30, "b": 30}))
    found: list[tuple[Preparation, int]] = []
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    threads = [threading.Thread(target=lambda f=folder: found.append(read_again(data, f))) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0][0] == found[1][0]
    assert sorted(decoded for _, decoded in found) == [0, 60]


def test_damaged_memory_of_earlier_runs_is_no_obstacle(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    data = config(make_folder({"a": 9, "b": 9}))
    first = prepare_images(data, tmp_path, [10])
    (memory,) = data.cache_folder.glob("scans/*.feather")
    memory.write_bytes(b"garbage")
    assert prepare_images(data, tmp_path, [10]) == first


def test_of_many_left_out_every_kind_is_shown() -> None:
    missing = [Defect(str(number), f"(train.csv, row {number}): there is no such image") for number in range(30)]
    told = defect_lines([*missing, Defect("50853", "two rows with different labels ('daisy', 'tulips')")])
    assert "50853: two rows with different labels" in told
    assert told.count("there is no such image") == 9 + 1
    assert told.endswith("and 21 more; all in all 30 × …: there is no such image, 1 × two rows with different labels …")


def test_a_run_looks_for_copies_of_photos_where_that_is_quick(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 2}, size=(48, 40))
    shutil.copy(root / "train/a/000.png", root / "val/a/copy.png")
    data = config(root)

    def told() -> tuple[str, tuple[str, ...]]:
        found = prepare_images(data, tmp_path, [8], look_for_duplicates="if quick")
        return found.summary["near-duplicates"], found.warnings

    prepare_images(data, tmp_path, [8])  # reads them, and hashes none
    monkeypatch.setattr("trainables.image.data.prepare.QUICK_TO_DECODE", 16)
    assert told()[0] == (
        "not looked for among 17 images: 17 would be decoded for it, more than 16; sweep data check does"
    )
    prepare_images(data, tmp_path, [], look_for_duplicates="yes")  # as sweep data check does, which remembers hashes
    summary, warnings = told()
    assert summary == "2 of 17 images, in 1 group, such as train/a/000.png, val/a/copy.png"
    assert any("leak: 1 group of near-duplicates" in warning for warning in warnings)
    (root / "val/a/copy.png").unlink()
    assert told() == ("none among 16 images", ())
    monkeypatch.setattr("trainables.image.data.prepare.QUICK", 15)
    assert told()[0] == "not looked for among 16 images, more than 15: sweep data check does"


def test_a_first_run_hashes_what_it_reads_anyway(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 2}, size=(48, 40))
    shutil.copy(root / "train/a/000.png", root / "val/a/copy.png")
    monkeypatch.setattr("trainables.image.data.prepare.QUICK_TO_DECODE", 0)
    told: list[str] = []
    found = prepare_images(
        config(root),
        tmp_path,
        [8],
        look_for_duplicates="if quick",
        progress=lambda what, done, total: told.append(what),
    )
    assert found.summary["near-duplicates"] == "2 of 17 images, in 1 group, such as train/a/000.png, val/a/copy.png"
    assert "hashing images" not in told


def test_a_run_does_not_look_for_copies_among_drawings_of_few_pixels(tmp_path: Path) -> None:
    found = prepare_images(DataConfig(), tmp_path, [8], look_for_duplicates="if quick")
    assert found.summary["near-duplicates"].startswith("not looked for: images of fewer than 32 pixels")
    assert "near_duplicates" not in found.details
