from __future__ import annotations

import functools
import hashlib
import http.server
import pickle
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.datasets import cifar10
from trainables.image.datasets.base import Listing
from trainables.image.datasets.cifar10 import FOLDER, Cifar10
from trainables.image.index import ImageIndex
from trainables.image.pixels.cifar_batches import parse_batch
from trainables.image.pixels.examples import open_pixels

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def pixels_of(batch: int, count: int = 20) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(batch).integers(0, 256, (count, 3072), dtype=np.uint8)


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The official layout, smaller; its checksums are taken for the official ones."""
    root = tmp_path / "cifar"
    folder = root / FOLDER
    folder.mkdir(parents=True)
    for number, name in enumerate(name for name in cifar10.MD5 if name != "batches.meta"):
        content = {b"data": pixels_of(number), b"labels": [place % 10 for place in range(20)], b"batch_label": name}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES, "num_vis": 3072}, protocol=2))
    monkeypatch.setattr(cifar10, "MD5", {name: md5(folder / name) for name in cifar10.MD5})
    return root


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def config(root: Path, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"dataset": "cifar10", "root": root, **values})


def listed(root: Path, **values: Any) -> Listing:
    return Cifar10(config(root, **values)).examples()


def test_batches_with_the_official_test_split(batches: Path) -> None:
    listing = listed(batches)
    assert listing.classes == tuple(NAMES)
    assert listing.table["split"].to_pylist() == ["train"] * 100 + ["test"] * 20
    assert listing.table["example"][0].as_py() == "data_batch_1#0"
    assert listing.table["labels"][13].as_py() == [3]
    assert listed(batches / FOLDER).table == listing.table
    assert listed(batches, split={"given": False}).table["split"].null_count == 120


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("cache", ["1GB", "0"])
def test_pixels_are_those_of_the_batches(batches: Path, tmp_path: Path, channels: int, cache: str) -> None:
    data = config(batches, cache_limit_bytes=cache)
    preparation = prepare_images(data, tmp_path, [32], [channels])
    assert preparation.details["examples"] == {"train": 80, "val": 20, "test": 20}
    index = ImageIndex.load(tmp_path / "index.arrow")
    assert (tmp_path / "index.arrow").stat().st_size < 120 * 3072  # the pictures stay where they are
    with_cache = open_pixels(index, data, 32, channels)
    (row,) = np.flatnonzero(np.array(index.table["example"].to_pylist()) == "data_batch_2#7")
    (picture,) = with_cache.gather(np.array([row]))
    expected = pixels_of(1)[7].reshape(3, 32, 32).transpose(1, 2, 0)
    if channels == 3:
        np.testing.assert_array_equal(picture, expected)
    else:
        np.testing.assert_allclose(picture[:, :, 0], expected @ [0.299, 0.587, 0.114], atol=1)
    with_cache.close()


def test_another_checksum_is_refused(batches: Path) -> None:
    path = batches / FOLDER / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_3 has md5(?s:.*)data\.download=true"):
        listed(batches)
    path.unlink()
    with pytest.raises(DataError, match="data_batch_3: No such file"):
        listed(batches)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("something of the attacker's choice",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"data": Malicious()}), "asks for builtins.print"),
        (pickle.dumps([1, 2]), "holds a list"),
        (b"\x80\x04 not a pickle", "no CIFAR batch"),
        (b"", "no CIFAR batch"),
        (pickle.dumps({"labels": [1]}), "no pixels"),
        (pickle.dumps({"data": pixels_of(0), "labels": [1]}), "class number for each of its 20"),
        (pickle.dumps({"data": pixels_of(0)[:, :5], "labels": [1] * 20}), "5 values, not 3 × 32 × 32"),
    ],
)
def test_a_pickle_runs_nothing(content: bytes, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=says):
        parse_batch(content)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_batches_of_any_protocol(protocol: int) -> None:
    batch = parse_batch(pickle.dumps({"data": pixels_of(4), "labels": [0] * 20}, protocol=protocol))
    np.testing.assert_array_equal(batch.pixels, pixels_of(4))


def test_batch_as_python_2_wrote_the_official_ones() -> None:
    def text(content: bytes) -> bytes:
        return b"T" + len(content).to_bytes(4, "little") + content

    rows = pixels_of(5, count=2)
    dtype = (
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    state = b"(K\x01K\x02M\x00\x0c\x86" + dtype + b"\x89" + text(rows.tobytes()) + b"tb"
    content = b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + b"](K\x03K\x07eu."
    batch = parse_batch(content)
    np.testing.assert_array_equal(batch.pixels, rows)
    assert batch.labels.tolist() == [3, 7]


def test_image_folders_alike(make_folder: Any) -> None:
    listing = listed(make_folder({"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2}))
    assert listing.classes == ("cat", "dog")
    assert sorted(set(listing.table["split"].to_pylist())) == ["test", "train"]


def test_missing_data_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        listed(tmp_path / "nothing")
    for part in (
        "does not exist",
        f"{tmp_path}/nothing/{FOLDER}",
        "--set data.download=true",
        "cifar-10-python.tar.gz",
    ):
        assert part in str(caught.value)


@pytest.fixture
def served(batches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive on a local server."""
    archive = tmp_path / "served" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches / FOLDER, FOLDER)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=archive.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        monkeypatch.setattr(cifar10, "ARCHIVE_MD5", md5(archive))
        yield archive
        server.shutdown()


def test_download(served: Path, tmp_path: Path) -> None:
    root = tmp_path / "fetched"
    assert len(listed(root, download=True).table) == 120
    served.unlink()  # what is there is not fetched again
    assert len(listed(root / FOLDER, download=True).table) == 120


def test_download_of_a_damaged_archive(served: Path, tmp_path: Path) -> None:
    served.write_bytes(served.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"data\.download: CIFAR-10 could not be fetched"):
        listed(tmp_path / "fetched", download=True)
