"""What a trial reads is what was prepared for it, to the bit: whatever was changed since is made anew, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.checkpoints import MANIFEST, latest_checkpoint, read_checkpoint
from trainables.contract import EpochReport
from trainables.errors import DataError
from trainables.image.data.prepare import INDEX_FILE, prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.pixels.examples import open_pixels
from trainables.local import LocalHandle


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    random = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "pictures" / ("dark", "light")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 100, (10, 10, 3), dtype=np.uint8) + number % 2 * 120
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return DataConfig.model_validate(
        {"dataset": "image_folder", "root": str(tmp_path / "pictures"), "cache_dir": str(tmp_path / "cache")}
    )


def flip(path: Path, place: int) -> None:
    """Turns one bit of a file, as disks and networks do: it keeps its size."""
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("place", [-500, 70, -3], ids=["pixels", "header", "checksum"])
def test_changed_pixels_are_decoded_anew(
    data: DataConfig, tmp_path: Path, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_images(data, tmp_path, [8])
    index = ImageIndex.load(tmp_path / INDEX_FILE)
    rows = np.arange(len(index.table))
    whole = open_pixels(index, data, 8).gather(rows)
    (file,) = (tmp_path / "cache").glob("pixels/*.npy")
    flip(file, place)
    assert (open_pixels(index, data, 8).gather(rows) == whole).all()
    assert "changed after it was written" in capsys.readouterr().out
    assert (open_pixels(index, data, 8).gather(rows) == whole).all()
    assert capsys.readouterr().out == ""

    flip(file, place)
    again = prepare_images(data, tmp_path, [8])
    assert any("changed after it was written" in warning for warning in again.warnings)
    assert (open_pixels(index, data, 8).gather(rows) == whole).all()


def test_pixels_of_an_earlier_version_are_made_anew(data: DataConfig, tmp_path: Path) -> None:
    prepare_images(data, tmp_path, [8])
    (file,) = (tmp_path / "cache").glob("pixels/*.npy")
    file.write_bytes(file.read_bytes()[:-16])
    (told,) = prepare_images(data, tmp_path, [8]).warnings
    assert "without a checksum" in told
    assert prepare_images(data, tmp_path, [8]).warnings == ()


def test_a_picture_that_was_replaced_is_not_trained_on(data: DataConfig, tmp_path: Path) -> None:
    data = data.model_copy(update={"cache_limit_bytes": 0})
    prepare_images(data, tmp_path, [])
    index = ImageIndex.load(tmp_path / INDEX_FILE)
    pixels = open_pixels(index, data, 8)
    rows = np.arange(len(index.table))
    pixels.gather(rows)
    path = Path(index.table["path"][3].as_py())
    Image.new("RGB", (10, 10), "white").save(path)
    with pytest.raises(DataError, match=rf"{path.name}: not the image that the sweep was prepared with"):
        pixels.gather(rows)


def test_a_changed_index_is_refused(data: DataConfig, tmp_path: Path) -> None:
    prepare_images(data, tmp_path, [])
    path = tmp_path / INDEX_FILE
    whole = path.read_bytes()
    table = ImageIndex.load(path).table
    labels = np.array([row[0] for row in table["labels"].to_pylist()], np.int32).tobytes()
    flip(path, whole.index(labels) + 4)
    with pytest.raises(DataError, match=r"index.arrow: changed after it was written"):
        ImageIndex.load(path)
    path.write_bytes(whole[:-16])  # as earlier versions wrote it
    assert ImageIndex.load(path).table.equals(table)


def test_a_changed_history_is_no_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    handle = LocalHandle(tmp_path)
    for epoch in (1, 2):
        handle.report(EpochReport(epoch, {"val_accuracy": 0.5}), lambda folder: None)
    (last,) = tmp_path.glob(f"attempt-1/checkpoints/epoch-00002/{MANIFEST}")
    content = last.read_bytes()
    last.write_bytes(content.replace(b"0.5", b"0.7"))
    assert read_checkpoint(last.parent) is None
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.epoch == 1
