"""The common form of all annotation formats: images, and the objects that are marked in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainables.image.datasets.base import Defect, Rle

FloatBox = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, counted from 0; right and bottom are just outside."""

Size = tuple[int, int]
"""Width, height."""


@dataclass(frozen=True, slots=True)
class Polygons:
    """An outline of one or more rings, each x, y, x, y, ... in pixels from 0."""

    rings: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class MaskFile:
    """The pixels of one value in a mask that is a file.

    Attributes:
        path: absolute.
        value: palette index or grey level.
        digest: of the file's content.
    """

    path: Path
    value: int
    digest: str


Outline = Polygons | Rle | MaskFile


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One object, as its annotation has it.

    Attributes:
        label: its class.
        box: in pixels of a picture of the size that the annotation gives; None: it has no place (or see `fault`).
        outline: which pixels are the object's; None: only the box is known.
        key: tells it from the other objects of its picture; it becomes part of the example's name.
        difficult: hard to recognise; left out unless `data.difficult`.
        crowd: stands for many objects of its class at once (COCO's `iscrowd`): no example of its own.
        is_fraction: the box and the outline are fractions of the picture, not pixels.
        fault: why the place cannot be used; the class still counts for the picture.
    """

    label: str
    box: FloatBox | None = None
    outline: Outline | None = None
    key: str = ""
    difficult: bool = False
    crowd: bool = False
    is_fraction: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class AnnotatedPicture:
    """A picture and what is marked in it.

    Attributes:
        picture: its path below the dataset's folder.
        place: where the annotation stands, for messages.
        size: of the picture as the annotation gives it; None where it does not.
        objects: what is marked.
        tags: classes of the picture as a whole.
        split: train, val or test where the dataset says so.
        group: what it comes from (a video, a patient); None: it stands alone.
    """

    picture: str
    place: str
    size: Size | None = None
    objects: tuple[AnnotatedObject, ...] = ()
    tags: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None


@dataclass
class Annotations:
    """All that a reader found. It grows while the files are read.

    Attributes:
        pictures: in the order of reading; no picture twice.
        named: classes that the format lists, whether objects have them or not.
        counts: what the user should know → how often it was seen.
        notes: more of that, without a count.
        defects: what could not be used.
        claimed: pictures whose annotation could not be used: they are not without one.
    """

    pictures: list[AnnotatedPicture] = field(default_factory=list)
    named: Sequence[str] = ()
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    claimed: set[str] = field(default_factory=set)
