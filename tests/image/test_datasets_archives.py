"""Class folders in archives, WebDataset shards, arrays, CIFAR-100: read where they lie, or refused in words."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.image.data.listing import list_examples
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing, Member
from trainables.image.pixels.containers import read_member

MakeFolder = Callable[..., Path]


def listed(root: Path, dataset: str, **values: Any) -> Listing:
    """What is read at a root where nothing else is said."""
    data = DataConfig(root=root, **values)
    assert data.dataset == dataset
    return list_examples(data)


def pixels(listing: Listing, row: int) -> Any:
    """The picture of an example, decoded."""
    found = listing.table.slice(row, 1).to_pylist()[0]
    return np.asarray(Image.open(io.BytesIO(read_member(Path(found["path"]), Member(**found["member"])))))


def by_class(listing: Listing) -> dict[str, int]:
    return dict(Counter(listing.classes[row[0]] for row in listing.table["labels"].to_pylist()))


def by_split(listing: Listing) -> dict[str | None, int]:
    return dict(Counter(listing.table["split"].to_pylist()))


def packed(folder: Path, target: Path) -> Path:
    """A folder as a zip or tar archive."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for path in files:
                archive.write(path, path.relative_to(folder))
    else:
        with tarfile.open(target, "w:gz" if target.suffix == ".gz" else "w") as packed:
            for path in files:
                packed.add(path, str(path.relative_to(folder)))
    return target


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize("as_root", [False, True])
def test_class_folders_in_an_archive(make_folder: MakeFolder, tmp_path: Path, suffix: str, as_root: bool) -> None:
    folder = make_folder({"train/cat": 3, "train/dog": 2, "val/cat": 1, "val/dog": 1, "__MACOSX/cat": 1})
    file = packed(folder, tmp_path / f"in/photos.{suffix}")
    listing = listed(file if as_root else file.parent, "image_archive")
    assert by_class(listing) == {"cat": 4, "dog": 3}
    assert by_split(listing) == {"train": 5, "val": 2}
    first = listing.table["example"][0].as_py()
    assert np.array_equal(pixels(listing, 0), np.asarray(Image.open(folder / first)))


def test_an_archive_per_split(make_folder: MakeFolder, tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        packed(make_folder({"cat": count, "dog": count}, root=tmp_path / split), tmp_path / f"in/{split}.zip")
    listing = listed(tmp_path / "in", "image_archive")
    assert by_split(listing) == {"train": 6, "test": 2}


def test_a_member_that_is_damaged_is_named(make_folder: MakeFolder, tmp_path: Path) -> None:
    file = packed(make_folder({"cat": 12, "dog": 12}), tmp_path / "in/photos.zip")
    content = bytearray(file.read_bytes())
    content[content.index(b"IHDR") + 20] ^= 0xFF
    file.write_bytes(content)
    preparation = prepare_images(DataConfig(root=file.parent), tmp_path, [8])
    assert list(preparation.details["defects"]) == ["cat/000.png"]


@pytest.mark.parametrize(
    ("name", "folders", "words"),
    [
        ("flat.zip", {"": 3}, "An archive without class folders"),
        ("photos.tar.gz", {"cat": 1, "dog": 1}, "Unpack it"),
    ],
)
def test_other_archives_are_refused_in_words(
    make_folder: MakeFolder, tmp_path: Path, name: str, folders: dict[str, int], words: str
) -> None:
    file = packed(make_folder(folders), tmp_path / f"in/{name}")
    with pytest.raises(DataError, match=words):
        DataConfig(root=file.parent)


def test_broken_archives_are_refused_in_words(tmp_path: Path, make_folder: MakeFolder) -> None:
    file = packed(make_folder({"cat": 1, "dog": 1}), tmp_path / "in/photos.zip")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"photos\.zip: the archive is damaged"):
        list_examples(DataConfig(root=file.parent))


def shard(path: Path, samples: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in samples.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def png(value: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.full((6, 5), value, np.uint8)).save(written, "PNG")
    return written.getvalue()


def test_webdataset(tmp_path: Path) -> None:
    for split in ("train", "val"):
        samples = {}
        for number in range(4):
            samples |= {f"{number:03d}.png": png(number), f"{number:03d}.cls": str(number % 2).encode()}
        shard(tmp_path / f"{split}-000000.tar", samples)
    listing = listed(tmp_path, "webdataset")
    assert (by_class(listing), by_split(listing)) == ({"0": 4, "1": 4}, {"train": 4, "val": 4})
    assert pixels(listing, 3).max() == 3
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert listed(tmp_path, "webdataset").classes == ("cat", "dog")


def test_webdataset_with_json_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    label = {"a": {"label": ["x", "y"]}, "b": {"label": "x"}}
    samples = {
        f"{key}.{kind}": content
        for key in label
        for kind, content in (("png", png(1)), ("json", json.dumps(label[key]).encode()))
    }
    samples |= {"c.png": png(1), "d.json": b"{}", "e.png": png(1), "e.json": b"{"}
    samples |= {"img.001.png": png(1), "img.001.cls": b"x", "img.002.png": png(2)}
    shard(tmp_path / "data.tar", samples)
    listing = listed(tmp_path, "webdataset")
    assert listing.multilabel
    assert listing.classes == ("x", "y")
    notes = " | ".join(listing.notes)
    assert "1 samples without an image" in notes
    assert "1 samples without a label" in notes
    reasons = {defect.name: defect.reason for defect in listing.defects}
    assert set(reasons) == {"data.tar#e", "data.tar#img"}
    assert "img.001.png, img.002.png are one sample" in reasons["data.tar#img"]


def stack(count: int, *shape: int) -> Any:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_medmnist(tmp_path: Path) -> None:
    arrays = {}
    for split, count in (("train", 9), ("val", 3), ("test", 3)):
        arrays |= {f"{split}_images": stack(count, 28, 28, 3), f"{split}_labels": np.arange(count)[:, None] % 3}
    np.savez_compressed(tmp_path / "pathmnist.npz", **arrays)
    listing = listed(tmp_path, "image_arrays")
    assert by_split(listing) == {"train": 9, "val": 3, "test": 3}
    assert by_class(listing) == {"0": 5, "1": 5, "2": 5}
    assert np.array_equal(pixels(listing, 4), arrays["train_images"][4])
    assert listed(tmp_path / "pathmnist.npz", "image_arrays").classes == listing.classes


def test_labels_in_rows_of_zeros_and_ones(tmp_path: Path) -> None:
    rows = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    np.savez(tmp_path / "chest.npz", x_train=stack(4, 8, 8), y_train=rows)
    listing = listed(tmp_path, "image_arrays")
    assert listing.multilabel
    assert listing.table["labels"].to_pylist() == [[0], [1], [0, 1], []]
    np.savez(tmp_path / "chest.npz", x_train=stack(4, 8, 8), y_train=np.eye(2)[[0, 1, 1, 0]])
    assert by_class(listed(tmp_path, "image_arrays")) == {"0": 2, "1": 2}


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    pictures = stack(6, 8, 8, 3)
    with h5py.File(tmp_path / "train_catvnoncat.h5", "w") as file:
        file["train_set_x"], file["train_set_y"] = pictures, np.arange(6) % 2
        file["list_classes"] = np.array([b"non-cat", b"cat"])
    listing = listed(tmp_path, "image_arrays")
    assert by_class(listing) == {"non-cat": 3, "cat": 3}
    assert np.array_equal(pixels(listing, 5), pictures[5])


def idx(array: Any) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.astype(np.uint8).tobytes()


def test_mnist(tmp_path: Path) -> None:
    pictures = stack(6, 7, 5)
    for split, count in (("train", 6), ("t10k", 2)):
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures[:count])))
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(count) % 2)))
    listing = listed(tmp_path, "image_arrays")
    assert by_split(listing) == {"train": 6, "test": 2}
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="there are no labels: t10k-labels-idx1-ubyte"):
        list_examples(DataConfig(root=tmp_path))


def test_csv_of_pixels(tmp_path: Path) -> None:
    pictures = stack(6, 8, 8)
    lines = [",".join(["label", *(f"pixel{k}" for k in range(64))])]
    lines += [",".join(map(str, [number % 2, *picture.ravel()])) for number, picture in enumerate(pictures)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    listing = listed(tmp_path, "image_arrays")
    assert by_class(listing) == {"0": 3, "1": 3}
    assert np.array_equal(pixels(listing, 1), pictures[1])


def test_csv_of_pixels_that_cannot_be_read_says_where(tmp_path: Path) -> None:
    def refusal(*lines: list[object]) -> str:
        (tmp_path / "train.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
        with pytest.raises(DataError) as caught:
            list_examples(DataConfig(root=tmp_path))
        return str(caught.value)

    row: list[object] = [0, *[7] * 64]
    assert "line 3 has 101 columns, line 1 has 65: a CSV of pixels holds images of one size" in refusal(
        row, row, [1, *[7] * 100]
    )
    assert "line 2, column 4: 'seven' is not a whole number" in refusal(row, [1, 7, 7, "seven", *[7] * 61])
    assert "line 2, column 65: '' is not a whole number" in refusal(row, [1, *[7] * 63, ""], row)
    assert "line 2, column 1: 'cat' is not a whole number" in refusal(row, ["cat", *[7] * 64])


def test_arrays_that_cannot_be_used(tmp_path: Path) -> None:
    def refusal(**arrays: Any) -> str:
        np.savez(tmp_path / "some.npz", **arrays)
        with pytest.raises(DataError) as caught:
            list_examples(DataConfig(root=tmp_path))
        return str(caught.value)

    assert "no array of images with an array of as many labels" in refusal(images=stack(4, 8, 8), labels=np.arange(3))
    assert "may all be the labels" in refusal(images=stack(4, 8, 8), ages=np.arange(4), kinds=np.arange(4))
    assert "may all be the images" in refusal(a=stack(4, 8, 8), b=stack(4, 8, 8), labels=np.arange(4))
    assert "not whole numbers" in refusal(images=stack(4, 8, 8), labels=np.array([0.1, 0.2, 0.3, 0.4]))
    (tmp_path / "some.npz").write_bytes((tmp_path / "some.npz").read_bytes()[:300])
    with pytest.raises(DataError, match=r"some\.npz cannot be used: it is cut short"):
        list_examples(DataConfig(root=tmp_path))


def test_cifar100(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, count in (("train", 6), ("test", 2)):
        batch = {
            b"data": stack(count, 3072),
            b"fine_labels": [k % 2 for k in range(count)],
            b"coarse_labels": [0] * count,
        }
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"apple", b"bear"]}))
    listing = listed(tmp_path, "cifar100")
    assert (by_class(listing), by_split(listing)) == ({"apple": 4, "bear": 4}, {"train": 6, "test": 2})
    assert pixels(listing, 0).shape == (32, 32, 3)
    (folder / "test").write_bytes(b"\x80")
    with pytest.raises(DataError, match="test cannot be used"):
        list_examples(DataConfig(root=tmp_path))


def test_heic_is_read_where_the_plug_in_is(make_folder: MakeFolder, tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    root = make_folder({"cat": 12, "dog": 12})
    (root / "horse").mkdir()
    from trainables.image.pixels.decode import decode

    decode(root / "cat/000.png")  # registers the plug-in
    for number in range(12):
        colour = (number * 20, 90, 200)
        Image.new("RGB", (64, 48), colour).save(root / f"horse/{number}.heic", format="HEIF")
    preparation = prepare_images(DataConfig(root=root), tmp_path, [8])
    assert preparation.details["classes"] == ["cat", "dog", "horse"]
    assert preparation.details["defects"] == {}
