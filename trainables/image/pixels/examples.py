"""An index's examples as uint8 pixels: mapped from the node's cache, or decoded each time they are asked for."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.pixels.decode import UnreadableImage, open_image, to_pixels
from trainables.image.pixels.fit import SQUASH, Fit
from trainables.image.pixels.pictures import (
    Facts,
    Picture,
    Target,
    digest_of,
    fingerprint_of,
    iter_regions,
    pictures_of,
    read_pictures,
)
from trainables.image.pixels.pixel_cache import MappedFile, PixelCache, Shape
from trainables.image.settings.pixel_rule import PixelRule

if TYPE_CHECKING:
    from trainables.image.index import ImageIndex
    from trainables.image.settings.data import DataSettings


class Pixels(ABC):
    """The examples of an index at one resolution; row numbers are the index's.

    Attributes:
        shape: (N, H, W, C).
        why_decoded: why the pixels are not in the cache but decoded each time; empty when they are in the cache.
    """

    def __init__(self, shape: Shape, why_decoded: str = "") -> None:
        self.shape = shape
        self.why_decoded = why_decoded

    @property
    def resolution(self) -> int:
        """Height and width."""
        return self.shape[1]

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for grey."""
        return self.shape[3]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def gather(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """A new array with these rows, in this order: (B, H, W, C) uint8.

        Raises:
            DataError: a picture can no longer be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Gives back what is held: the file may be evicted, threads end."""


class MappedPixels(Pixels):
    """Pixels mapped from the cache, shared with every process of the node."""

    def __init__(self, file: MappedFile) -> None:
        super().__init__(file.array.shape)
        self._file = file

    def gather(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        return np.asarray(self._file.array[rows])

    def close(self) -> None:
        self._file.close()


class DecodedPixels(Pixels):
    """Pixels decoded anew each time, where the cache has no room. Slower, and otherwise the same."""

    def __init__(
        self, index: ImageIndex, data: DataSettings, target: Target, num_threads: int, why_decoded: str
    ) -> None:
        super().__init__((len(index.table), *target.shape), why_decoded)
        self._target = target
        self._table = index.table
        self._rule = rule_of(index, data)
        self._pool = ThreadPoolExecutor(max(1, num_threads), thread_name_prefix="decode")

    def gather(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        wanted = self._table.take(np.asarray(rows, dtype=np.int64))
        pixels = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)

        def decode(picture: Picture) -> None:
            try:
                name = picture.name if picture.path is None or picture.member is not None else str(picture.path)
                image = open_image(self._same(picture), rule=self._rule, name=name)
                for row, region in zip(picture.rows, picture.regions, strict=True):
                    pixels[row] = to_pixels(image, box=region.box, mask=region.mask, **self._target._asdict())
            except (UnreadableImage, ValueError, OSError) as error:
                raise DataError(
                    f"{picture.name}: it could be read when the sweep was prepared, but now: {error}"
                ) from error

        list(self._pool.map(decode, pictures_of(wanted)))
        return pixels

    def _same(self, picture: Picture) -> bytes:
        """The picture that the sweep was prepared with, encoded.

        Raises:
            DataError: it is another one by now.
        """
        content = picture.read()
        if picture.digest and digest_of(content) != picture.digest:
            raise DataError(
                f"{picture.path or picture.name}: not the image that the sweep was prepared with: put that back, or "
                "start a new sweep"
            )
        return content

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def open_pixels(
    index: ImageIndex,
    data: DataSettings,
    resolution: int,
    channels: int = 3,
    num_threads: int = 1,
    progress: Progress = no_progress,
    fit: Fit = SQUASH,
) -> Pixels:
    """The pixels of an index: from the cache, built there first when this node has none yet.

    Safe when several processes ask at once: one builds, the others wait and map what it built. Where the cache has
    no room (its limit, the disk, no right to write), pixels are decoded each time instead.

    Args:
        index: as `prepare_images` wrote it.
        data: where the cache is and how much it may hold.
        resolution: height and width that every example is brought to.
        channels: 3 for RGB, 1 for grey.
        num_threads: to decode with.
        progress: told while the cache is built.
        fit: how an example becomes a square.

    Raises:
        DataError: a picture cannot be read, or is not the one that was there when the sweep was prepared.
    """
    target = Target(resolution, channels, fit)
    shape = (len(index.table), *target.shape)
    name = cache_name(index.pixels_fingerprint or index.fingerprint, target)

    def waiting() -> None:
        progress("waiting for another process that decodes the same images", 0, len(index.table))

    if not data.cache_limit_bytes:
        return DecodedPixels(index, data, target, num_threads, "data.cache_limit_bytes: 0")
    try:
        cache = PixelCache(data.cache_folder, int(data.cache_limit_bytes))
        file = cache.find(name, shape)
        if file is None:
            with cache.building(name, waiting):
                file = cache.find(name, shape) or _build(cache, name, target, index, data, num_threads, progress)
        why = f"no room in {data.cache_folder} (data.cache_limit_bytes: {data.cache_limit_bytes:,}, or the disk)"
    except OSError as error:
        file, why = None, f"the cache {data.cache_folder} cannot be used: {error}"
    else:
        for damage in cache.damaged:
            print(damage)
    return MappedPixels(file) if file else DecodedPixels(index, data, target, num_threads, why)


def rule_of(index: ImageIndex, data: DataSettings) -> PixelRule:
    """How the pictures of an index are read."""
    return replace(data.pixel_rule, found=index.found_range)


def cache_name(fingerprint: str, target: Target) -> str:
    """What the file of these pixels is called in the cache."""
    side = target.resolution
    return f"{fingerprint}-{side}x{side}x{target.channels}{target.fit.suffix(side)}"


def _build(
    cache: PixelCache,
    name: str,
    target: Target,
    index: ImageIndex,
    data: DataSettings,
    num_threads: int,
    progress: Progress,
) -> MappedFile | None:
    shape = (len(index.table), *target.shape)
    rule = rule_of(index, data)
    partial = cache.reserve(shape)
    if partial is None:
        return None
    try:
        pictures = pictures_of(index.table)
        facts = read_pictures(
            pictures,
            {target: partial},
            rule=rule,
            num_threads=num_threads,
            progress=progress,
            what=f"decoding images to {shape[1]}×{shape[2]}",
        )
        _check_same(index, pictures, facts, rule)
    except BaseException:
        partial.discard()
        raise
    if partial.error is not None:
        partial.discard()
        return None
    partial.publish(cache.path(name))
    return cache.find(name, shape)


def _check_same(index: ImageIndex, pictures: Sequence[Picture], facts: Sequence[Facts], rule: PixelRule) -> None:
    for picture, each in zip(pictures, facts, strict=True):
        if each.defects:
            row, reason = next(iter(each.defects.items()))
            place = picture.path or "in the index"
            raise DataError(
                f"{index.table['example'][row].as_py()} ({place}): it could be read when the sweep was prepared, "
                f"but now: {reason}"
            )
    digests = digests_by_row(len(index.table), pictures, facts)
    if index.pixels_fingerprint not in ("", fingerprint_of(digests, list(iter_regions(index.table)), rule)):
        raise DataError(
            f"files below {_common_folder(pictures)} are not those that the sweep was prepared with: "
            "put them back, or start a new sweep"
        )


def digests_by_row(num_rows: int, pictures: Sequence[Picture], facts: Sequence[Facts]) -> list[str]:
    """The digest of each row's picture, (N,)."""
    digests = [""] * num_rows
    for picture, each in zip(pictures, facts, strict=True):
        for row in picture.rows:
            digests[row] = each.digest
    return digests


def _common_folder(pictures: Sequence[Picture]) -> str:
    folders = {str(picture.path.parent) for picture in pictures if picture.path is not None}
    return os.path.commonpath(folders) if folders else "."
