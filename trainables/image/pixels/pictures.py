"""Reading pictures: each file is opened once, however many crops and resolutions are made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from trainables.contract import Progress, no_progress
from trainables.image.example import Mask, Member, Region, Rle
from trainables.image.pixels.containers import read_member
from trainables.image.pixels.decode import UnreadableImage, inside, read_image, to_pixels
from trainables.image.pixels.fit import SQUASH, Fit
from trainables.image.pixels.perceptual_hash import MIN_SIDE, Words, hashes_of
from trainables.image.pixels.pixel_cache import PartialFile
from trainables.image.settings.pixel_rule import PixelRule

PIXELS_VERSION = 1  # another number whenever decoding or resizing gives other pixels

DIGEST = "digest"
"""The column of a prepared index that holds what each row's encoded image was then."""
_BATCH = 16  # pictures a task


class Target(NamedTuple):
    """What pixels are made.

    Attributes:
        resolution: height and width.
        channels: 3 for RGB, 1 for grey.
        fit: how a picture becomes a square.
    """

    resolution: int
    channels: int = 3
    fit: Fit = SQUASH

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.resolution, self.resolution, self.channels

    def __str__(self) -> str:
        return f"{self.resolution}×{self.resolution}×{self.channels}{self.fit.suffix(self.resolution)}"


@dataclass(frozen=True)
class Picture:
    """One encoded image and the examples that are made of it.

    Attributes:
        name: of its first example.
        path: the file; None when `image` holds it.
        member: its place in that file; None when the file is the image.
        image: the encoded image; None when `path` names it.
        rows: the table's rows that come from it.
        regions: which part of it each of those rows is.
        digest: of the encoded image, as it was when the sweep was prepared; empty before.
    """

    name: str
    path: Path | None
    member: Member | None
    image: bytes | None
    rows: tuple[int, ...]
    regions: tuple[Region, ...]
    digest: str = ""

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            OSError: it cannot be read.
        """
        if self.path is None:
            assert self.image is not None, self.name
            return self.image
        if self.member is not None:
            return read_member(self.path, self.member)
        return self.path.read_bytes()


@dataclass(frozen=True)
class Facts:
    """What reading a picture showed.

    Attributes:
        digest: of the encoded image, hexadecimal; empty when it could not be read.
        width: of the upright picture, in pixels.
        height: likewise.
        limits: see `Opened`.
        remark: see `Opened`.
        defects: by row, why it cannot be used.
        hashes: that near-duplicates are found by; None when they were not asked for, or the picture is too small.
    """

    digest: str
    width: int = 0
    height: int = 0
    limits: tuple[float, float, bool] | None = None
    remark: str = ""
    defects: Mapping[int, str] = field(default_factory=dict)
    hashes: Words | None = field(default=None, compare=False)


def pictures_of(table: pa.Table) -> list[Picture]:
    """The pictures of a table, in order of their first rows."""
    rows_of: dict[tuple[str, Member | None] | int, list[int]] = {}
    paths, names, members = (table[column].to_pylist() for column in ("path", "example", "member"))
    regions = list(iter_regions(table))
    digests = table[DIGEST].to_pylist() if DIGEST in table.column_names else [""] * len(table)
    files = {path: Path(path) for path in set(paths) if path is not None}  # one for all the images of a file
    for row, (path, member) in enumerate(zip(paths, members, strict=True)):
        place = None if member is None else Member(member["column"], member["row"])
        rows_of.setdefault(row if path is None else (path, place), []).append(row)
    return [
        Picture(
            names[rows[0]],
            None if isinstance(source, int) else files[source[0]],
            None if isinstance(source, int) else source[1],
            table["image"][source].as_py() if isinstance(source, int) else None,
            tuple(rows),
            tuple(regions[row] for row in rows),
            digests[rows[0]],
        )
        for source, rows in rows_of.items()
    ]


def read_pictures(
    pictures: Sequence[Picture],
    targets: Mapping[Target, PartialFile],
    *,
    rule: PixelRule,
    num_threads: int,
    progress: Progress = no_progress,
    what: str = "reading images",
    with_hashes: bool = False,
) -> list[Facts]:
    """Decodes each picture once and writes its examples into every target.

    Threads, because decoding and resizing leave Python's lock to others.

    Args:
        pictures: what to read.
        targets: where pixels go; none, to see only whether pictures can be read.
        rule: how they are read.
        num_threads: to decode with.
        progress: told of the number of pictures.
        what: what progress is called.
        with_hashes: of the whole pictures, too.

    Returns:
        The facts of each picture, in order.
    """
    batches = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    facts: list[Facts] = []
    pool = ThreadPoolExecutor(max(1, num_threads), thread_name_prefix="decode")
    try:
        for done in pool.map(lambda batch: [read_picture(each, targets, rule, with_hashes) for each in batch], batches):
            facts += done
            progress(what, len(facts), len(pictures))
    finally:
        pool.shutdown(cancel_futures=True)
    return facts


def read_picture(
    picture: Picture, targets: Mapping[Target, PartialFile], rule: PixelRule, with_hashes: bool = False
) -> Facts:
    """Decodes one picture and writes its examples into every target."""
    try:
        content = picture.read()
    except OSError as error:
        return Facts("", defects=dict.fromkeys(picture.rows, error.strerror or str(error)))
    try:
        opened = read_image(content, name=picture.name, rule=rule)
    except UnreadableImage as error:
        return Facts("", defects=dict.fromkeys(picture.rows, error.reason))
    image = opened.image
    defects = boxes_outside(picture, image.width, image.height)
    for row, region in zip(picture.rows, picture.regions, strict=True):
        if row in defects:
            continue
        try:
            for target, file in targets.items():
                file.write(row, to_pixels(image, box=region.box, mask=region.mask, **target._asdict()))
        except ValueError as error:  # a mask that could be read when the examples were listed
            defects[row] = str(error)
    hashes = hashes_of(image) if with_hashes and min(image.size) >= MIN_SIDE else None
    return Facts(digest_of(content), image.width, image.height, opened.limits, opened.remark, defects, hashes)


def boxes_outside(picture: Picture, width: int, height: int) -> dict[int, str]:
    """The rows whose box has nothing of the picture in it, and how that reads."""
    outside = {}
    for row, region in zip(picture.rows, picture.regions, strict=True):
        try:
            if region.box is not None:
                inside(region.box, width, height)
        except ValueError as error:
            outside[row] = str(error)
    return outside


def digest_of(content: bytes) -> str:
    """Names the content of an encoded image."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def fingerprint_of(digests: Sequence[str], regions: Sequence[Region], rule: PixelRule) -> str:
    """Names the pixels of examples, in order: the same content, regions, rule and version give the same name."""
    state = hashlib.blake2b(f"pixels {PIXELS_VERSION}{rule.digest}".encode(), digest_size=16)
    for digest, region in zip(digests, regions, strict=True):
        state.update(f"\n{digest} {'' if region.box is None else ','.join(map(str, region.box))}".encode())
        if (mask := region.mask) is not None:
            state.update(f" {mask.digest} {mask.value} {mask.background}".encode())
    return state.hexdigest()


def iter_regions(table: pa.Table) -> Iterator[Region]:
    """The region of each row."""
    for box, mask in zip(table["box"].to_pylist(), table["mask"].to_pylist(), strict=True):
        yield Region(
            None if box is None else (box[0], box[1], box[2], box[3]),
            None if mask is None else _mask(mask),
        )


def _mask(row: dict[str, Any]) -> Mask:
    rle = row.get("rle")  # an index of before there were any has none
    path = None if row["path"] is None else Path(row["path"])
    return Mask(path, row["value"], row["background"], row["digest"], None if rle is None else Rle(**rle))
