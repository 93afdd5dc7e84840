from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainables.errors import DataError
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.pixels import pixel_cache
from trainables.image.pixels.decode import decode
from trainables.image.pixels.examples import DecodedPixels, MappedPixels, open_pixels
from trainables.image.pixels.pixel_cache import PartialFile, PixelCache

Make = Callable[..., tuple[ImageIndex, DataConfig]]


@pytest.fixture
def make_index(make_folder: Callable[..., Path], tmp_path: Path) -> Make:
    def make(count: int = 12, **values: Any) -> tuple[ImageIndex, DataConfig]:
        root = make_folder({"a": count, "b": count})
        data = DataConfig(dataset="image_folder", root=root, **values)
        prepare_images(data, tmp_path, [])
        return ImageIndex.load(tmp_path / "index.arrow"), data

    return make


def expected(index: ImageIndex, resolution: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.stack(
        [
            decode(Path(path), box=box, resolution=resolution, channels=channels)
            for path, box in zip(index.table["path"].to_pylist(), index.table["box"].to_pylist(), strict=True)
        ]
    )


def files(data: DataConfig, pattern: str = "*.npy") -> list[Path]:
    return sorted((data.cache_folder / "pixels").glob(pattern))


def resolutions(data: DataConfig) -> set[int]:
    return {int(path.name.split("-")[1].split("x")[0]) for path in files(data)}


@pytest.mark.parametrize("channels", [1, 3])
def test_cached_and_decoded_pixels_are_the_same(make_index: Make, channels: int) -> None:
    index, data = make_index()
    mapped = open_pixels(index, data, 10, channels, num_threads=2)
    decoded = open_pixels(index, data.model_copy(update={"cache_limit_bytes": 0}), 10, channels, num_threads=2)
    assert isinstance(mapped, MappedPixels)
    assert isinstance(decoded, DecodedPixels)
    assert "cache_limit_bytes: 0" in decoded.why_decoded
    assert not mapped.why_decoded
    rows = np.array([5, 0, 5, 23, 11])
    for pixels in (mapped, decoded):
        assert pixels.shape == (24, 10, 10, channels)
        assert (pixels.resolution, pixels.channels, len(pixels)) == (10, channels, 24)
        assert (pixels.gather(rows) == expected(index, 10, channels)[rows]).all()
        assert pixels.gather(rows).dtype == np.uint8
        assert pixels.gather(np.array([], dtype=np.int64)).shape == (0, 10, 10, channels)
        gathered = pixels.gather(rows)
        gathered[:] = 0  # the caller's own copy
        assert pixels.gather(rows).any()
        pixels.close()


def test_crops_are_cut_from_their_photo(make_voc: Callable[..., Path], tmp_path: Path) -> None:
    photos = {f"p{k}": [("a", (1, 1, 20, 20)), ("b", (11, 5, 40, 30))] for k in range(12)}
    data = DataConfig(dataset="voc", root=make_voc(photos), view="crops")
    prepare_images(data, tmp_path, [8])
    index = ImageIndex.load(tmp_path / "index.arrow")
    pixels = open_pixels(index, data, 8)
    assert isinstance(pixels, MappedPixels)
    assert (pixels.gather(np.arange(24)) == expected(index, 8)).all()
    decoded = open_pixels(index, data.model_copy(update={"cache_limit_bytes": 0}), 8)
    assert (decoded.gather(np.arange(24)) == expected(index, 8)).all()


def test_pictures_in_the_table_itself(tmp_path: Path) -> None:
    data = DataConfig(limit=20)
    prepare_images(data, tmp_path, [16])
    index = ImageIndex.load(tmp_path / "index.arrow")
    images = index.table["image"].to_pylist()
    assert (
        open_pixels(index, data, 16, 1).gather(np.array([3]))[0] == decode(images[3], resolution=16, channels=1)
    ).all()


def test_built_once_then_mapped(make_index: Make) -> None:
    index, data = make_index()
    open_pixels(index, data, 10)
    (file,) = files(data)
    inode = file.stat().st_ino
    told: list[str] = []
    open_pixels(index, data, 10, progress=lambda what, done, total: told.append(what))
    assert not told
    assert files(data)[0].stat().st_ino == inode


def test_numpy_reads_the_cache_file(make_index: Make) -> None:
    index, data = make_index()
    open_pixels(index, data, 10)
    assert (np.load(files(data)[0]) == expected(index, 10)).all()


def test_vanished_picture_is_named(make_index: Make) -> None:
    index, data = make_index()
    gone = Path(index.table["path"][4].as_py())
    gone.unlink()
    with pytest.raises(DataError, match=rf"{gone.name}.*prepared, but now: No such file"):
        open_pixels(index, data, 10)
    assert not files(data)
    assert not files(data, "*.partial")
    decoded = open_pixels(index, data.model_copy(update={"cache_limit_bytes": 0}), 10)
    with pytest.raises(DataError, match=r"prepared, but now: .*No such file"):
        decoded.gather(np.array([3, 4]))
    decoded.gather(np.array([3]))


def test_pictures_that_changed_since_are_refused(make_index: Make, make_picture: Callable[..., Path]) -> None:
    index, data = make_index()
    make_picture(Path(index.table["path"][4].as_py()), seed=99)
    with pytest.raises(DataError, match="not those that the sweep was prepared with"):
        open_pixels(index, data, 10)


def test_damaged_cache_file_is_built_again(make_index: Make) -> None:
    index, data = make_index()
    open_pixels(index, data, 10).close()
    os.truncate(files(data)[0], 500)
    assert (open_pixels(index, data, 10).gather(np.arange(24)) == expected(index, 10)).all()


def _open_and_report(index_path: Path, data: dict[str, Any], start: Any, results: Any) -> None:
    index = ImageIndex.load(index_path)
    start.wait()
    told: list[str] = []
    pixels = open_pixels(
        index, DataConfig.model_validate(data), 48, progress=lambda what, done, total: told.append(what)
    )
    results.put((int(pixels.gather(np.arange(len(pixels))).sum()), any("decoding" in what for what in told)))


def test_processes_that_ask_at_once_share_one_build(make_index: Make, tmp_path: Path) -> None:
    index, data = make_index(40)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    arguments = (tmp_path / "index.arrow", data.model_dump(mode="json"), start, results)
    workers = [context.Process(target=_open_and_report, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert {total for total, _ in found} == {int(expected(index, 48).sum())}
    assert sum(built for _, built in found) == 1
    assert len(files(data)) == 1


def test_killed_builder_leaves_nothing_that_is_used(make_index: Make, tmp_path: Path) -> None:
    index, data = make_index()
    code = """
import sys, time
from pathlib import Path
from trainables.image.pixels import examples as pixels
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
read = pixels.read_pictures
def slow(*args, **kwargs):
    read(*args, **kwargs)
    print("written", flush=True)
    time.sleep(600)
pixels.read_pictures = slow
pixels.open_pixels(ImageIndex.load(Path(sys.argv[1])), DataConfig.model_validate_json(sys.argv[2]), 10)
"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "index.arrow"), data.model_dump_json()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "written\n"
        assert len(files(data, "*.partial")) == 1
        builder.send_signal(signal.SIGKILL)
    assert len(files(data, "*.partial")) == 1
    assert not files(data)
    assert (open_pixels(index, data, 10).gather(np.arange(24)) == expected(index, 10)).all()
    assert not files(data, "*.partial")


SIZE = 128 + 24 * 10 * 10 * 3 + 16  # a cache file of these tests: numpy's header, the pixels, their checksum


def test_limit_evicts_what_was_not_used_for_longest(make_index: Make) -> None:
    limit_bytes = 2 * SIZE + 100
    index, data = make_index(cache_limit_bytes=limit_bytes)
    for resolution in (10, 9):
        open_pixels(index, data, resolution).close()
    for path in files(data):
        age_s = 3600 if "-10x10" in path.name else 1800
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    open_pixels(index, data, 10).close()  # used again: now the other one is the oldest
    assert isinstance(open_pixels(index, data, 8), MappedPixels)
    assert resolutions(data) == {10, 8}
    assert sum(path.stat().st_size for path in files(data)) <= limit_bytes


def test_files_in_use_are_not_evicted(make_index: Make) -> None:
    index, data = make_index(cache_limit_bytes=SIZE + 100)
    used = open_pixels(index, data, 10)
    other = open_pixels(index, data, 9)
    assert isinstance(used, MappedPixels)
    assert isinstance(other, DecodedPixels)
    assert len(files(data)) == 1
    used.close()
    assert isinstance(open_pixels(index, data, 9), MappedPixels)
    assert resolutions(data) == {9}


def test_nothing_is_evicted_for_what_can_never_fit(make_index: Make) -> None:
    index, data = make_index(cache_limit_bytes=SIZE + 100)
    open_pixels(index, data, 10).close()
    assert isinstance(open_pixels(index, data, 64), DecodedPixels)
    assert len(files(data)) == 1


def test_disk_that_is_nearly_full_is_left_alone(make_index: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    index, data = make_index()
    monkeypatch.setattr(pixel_cache, "KEEP_FREE_BYTES", 1 << 60)
    monkeypatch.setattr(PixelCache.__init__, "__defaults__", (1 << 60,))
    assert isinstance(open_pixels(index, data, 10), DecodedPixels)
    assert not files(data)


@pytest.mark.parametrize("where", ["posix_fallocate", "pwrite"])
def test_disk_that_fills_up_while_building(make_index: Make, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    index, data = make_index()
    calls = []
    real = getattr(os, where)

    def full(*args: Any) -> Any:
        calls.append(args)
        if where == "posix_fallocate" or len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, where, full)
    pixels = open_pixels(index, data, 10)
    monkeypatch.undo()
    assert isinstance(pixels, DecodedPixels)
    assert calls
    assert (pixels.gather(np.arange(24)) == expected(index, 10)).all()
    assert not list(data.cache_folder.glob("pixels/*.partial"))


def test_cache_folder_that_cannot_be_used(make_index: Make, tmp_path: Path) -> None:
    index, data = make_index()
    (tmp_path / "file").write_text("x")
    pixels = open_pixels(index, data.model_copy(update={"cache_dir": tmp_path / "file"}), 10)
    assert isinstance(pixels, DecodedPixels)
    assert "cannot be used: " in pixels.why_decoded


def test_partial_file_keeps_only_some_rows(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path, 1_000_000, keep_free_bytes=0)
    partial = cache.reserve((5, 2, 2, 1))
    assert isinstance(partial, PartialFile)
    for row in (4, 2, 0, 1, 3):
        partial.write(row, np.full((2, 2, 1), row, dtype=np.uint8))
    partial.keep(np.array([0, 3, 4]))
    partial.publish(cache.path("some"))
    partial.discard()  # after it is published: nothing
    file = cache.find("some", (3, 2, 2, 1))
    assert file is not None
    assert file.array[:, 0, 0, 0].tolist() == [0, 3, 4]
    assert cache.find("other", (3, 2, 2, 1)) is None
