"""Reading pictures: each file is opened once, however many crops and resolutions are made of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from trainables.contract import Progress, no_progress
from trainables.image.datasets.base import Box
from trainables.image.decode import UnreadableImage, inside, open_image, to_pixels
from trainables.image.pixel_cache import PartialFile

PIXELS_VERSION = 1  # another number whenever decoding or resizing gives other pixels

Target = tuple[int, int]
"""Resolution and channels."""

_BATCH = 16  # pictures a task


@dataclass(frozen=True)
class Picture:
    """One encoded image and the examples that are made of it.

    Attributes:
        name: of its first example.
        path: the file; None when `image` holds it.
        image: the encoded image; None when `path` names it.
        rows: the table's rows that come from it.
        boxes: the box of each of those rows.
    """

    name: str
    path: Path | None
    image: bytes | None
    rows: tuple[int, ...]
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True)
class Facts:
    """What reading a picture showed.

    Attributes:
        digest: of the encoded image, hexadecimal; empty when it could not be read.
        width: of the upright picture, in pixels.
        height: likewise.
        defects: by row, why it cannot be used.
    """

    digest: str
    width: int = 0
    height: int = 0
    defects: Mapping[int, str] = field(default_factory=dict)


def pictures_of(table: pa.Table) -> list[Picture]:
    """The pictures of a table, in order of their first rows."""
    rows_of: dict[str | int, list[int]] = {}
    paths, names = (table[column].to_pylist() for column in ("path", "example"))
    boxes = list(iter_boxes(table))
    for row, path in enumerate(paths):
        rows_of.setdefault(row if path is None else path, []).append(row)
    return [
        Picture(
            names[rows[0]],
            Path(source) if isinstance(source, str) else None,
            None if isinstance(source, str) else table["image"][source].as_py(),
            tuple(rows),
            tuple(boxes[row] for row in rows),
        )
        for source, rows in rows_of.items()
    ]


def read_pictures(
    pictures: Sequence[Picture],
    targets: Mapping[Target, PartialFile],
    *,
    max_pixels: int,
    num_threads: int,
    progress: Progress = no_progress,
    what: str = "reading pictures",
) -> list[Facts]:
    """Decodes each picture once and writes its examples into every target.

    Threads, because decoding and resizing leave Python's lock to others.

    Args:
        pictures: what to read.
        targets: where pixels go, by resolution and channels; none, to see only whether pictures can be read.
        max_pixels: of one picture.
        num_threads: to decode with.
        progress: told of the number of pictures.
        what: what progress is called.

    Returns:
        The facts of each picture, in order.
    """
    batches = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    facts: list[Facts] = []
    pool = ThreadPoolExecutor(max(1, num_threads), thread_name_prefix="decode")
    try:
        for done in pool.map(lambda batch: [read_picture(each, targets, max_pixels) for each in batch], batches):
            facts += done
            progress(what, len(facts), len(pictures))
    finally:
        pool.shutdown(cancel_futures=True)
    return facts


def read_picture(picture: Picture, targets: Mapping[Target, PartialFile], max_pixels: int) -> Facts:
    """Decodes one picture and writes its examples into every target."""
    try:
        content = picture.image if picture.path is None else picture.path.read_bytes()
    except OSError as error:
        return Facts("", defects=dict.fromkeys(picture.rows, error.strerror or str(error)))
    assert content is not None, picture.name
    try:
        image = open_image(content, name=picture.name, max_pixels=max_pixels)
    except UnreadableImage as error:
        return Facts("", defects=dict.fromkeys(picture.rows, error.reason))
    defects = boxes_outside(picture, image.width, image.height)
    for row, box in zip(picture.rows, picture.boxes, strict=True):
        for (resolution, channels), target in targets.items():
            if row not in defects:
                target.write(row, to_pixels(image, box=box, resolution=resolution, channels=channels))
    return Facts(digest_of(content), image.width, image.height, defects)


def boxes_outside(picture: Picture, width: int, height: int) -> dict[int, str]:
    """The rows whose box has nothing of the picture in it, and how that reads."""
    outside = {}
    for row, box in zip(picture.rows, picture.boxes, strict=True):
        try:
            if box is not None:
                inside(box, width, height)
        except ValueError as error:
            outside[row] = str(error)
    return outside


def digest_of(content: bytes) -> str:
    """Names the content of an encoded image."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def fingerprint_of(digests: Sequence[str], boxes: Sequence[Box | None]) -> str:
    """Names the pixels of examples, in order: the same content, boxes and version give the same name."""
    state = hashlib.blake2b(f"pixels {PIXELS_VERSION}".encode(), digest_size=16)
    for digest, box in zip(digests, boxes, strict=True):
        state.update(f"\n{digest} {'' if box is None else ','.join(map(str, box))}".encode())
    return state.hexdigest()


def num_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def iter_boxes(table: pa.Table) -> Iterator[Box | None]:
    """The box of each row."""
    for box in table["box"].to_pylist():
        yield None if box is None else (box[0], box[1], box[2], box[3])
