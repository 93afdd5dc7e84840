"""Finds out which image size an annotation's coordinates count in: that of the file, or another.

Annotations say of which size their picture was. It may have been resized since, or be stored lying and shown upright
(EXIF), or the size is simply wrong. Each picture whose size is another gets the reading that its boxes fit; where they
fit several, the rest of the data set decides; where it cannot, the picture's objects are faulty rather than cut out of
another place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.image.datasets.objects.annotated import AnnotatedPicture, FloatBox, Size
from trainables.image.pixels.header import Header

SAME, SCALED, TURNED, LYING = "same", "scaled", "turned", "lying"
"""LYING: width and height change places, and nothing says which way the picture was turned since."""

_UNKNOWN = 1 << 30  # pixels; of a picture whose header cannot be read: it is refused later, by name

NOTES = {
    SAME: "annotations give a wrong size of their image: the boxes fit the image itself and were used as they are",
    SCALED: "images were resized after they had been annotated: the boxes were scaled with them",
    TURNED: "annotations count in the image as it is stored, not as it is seen (EXIF): the boxes were turned with it",
}
_MAJORITY = 0.9  # of the pictures that allow only one reading, before it is that of the others
_TOLERANCE = 1.0  # pixels that a box may reach beyond its picture


@dataclass(frozen=True)
class Frame:
    """How coordinates as written become those of the upright picture.

    Attributes:
        size: of the upright picture.
        written: the size of the picture that the coordinates count in.
        orientation: EXIF's, where they count in the stored picture; else 1.
    """

    size: Size
    written: Size
    orientation: int = 1

    @property
    def is_same(self) -> bool:
        """Whether coordinates stay as they are."""
        return self.size == self.written and self.orientation == 1

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the upright picture."""
        width, height = self.written
        if self.orientation == 1:
            return x * self.size[0] / width, y * self.size[1] / height
        if self.orientation in (5, 6, 7, 8):
            x, y = {5: (y, x), 6: (height - y, x), 7: (height - y, width - x), 8: (y, width - x)}[self.orientation]
            return x, y
        return {2: (width - x, y), 3: (width - x, height - y), 4: (x, height - y)}[self.orientation]

    def box(self, box: FloatBox) -> FloatBox:
        """A box of the upright picture."""
        if self.is_same:
            return min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])
        (x, y), (u, v) = self.point(box[0], box[1]), self.point(box[2], box[3])
        return min(x, u), min(y, v), max(x, u), max(y, v)

    def ring(self, ring: Sequence[float]) -> tuple[float, ...]:
        """x, y, x, y, ... of the upright picture."""
        points = (self.point(x, y) for x, y in zip(ring[::2], ring[1::2], strict=True))
        return tuple(number for point in points for number in point)


@dataclass(frozen=True)
class Readings:
    """The frame of each picture, or why it has none.

    Attributes:
        frames: in the order of the pictures; a text where there are several readings.
        counts: of the notes.
    """

    frames: tuple[Frame | str, ...]
    counts: Counter[str]


def read_frames(pictures: Sequence[AnnotatedPicture], headers: Sequence[Header | None]) -> Readings:
    """Decides for each picture in which frame its coordinates count.

    Args:
        pictures: of one data set, from one tool.
        headers: of the pictures; None where it cannot be read (the picture is refused later, by name).
    """
    kinds = [_kinds(picture, header) for picture, header in zip(pictures, headers, strict=True)]
    fitting = [
        tuple(kind for kind in possible if _fits(picture, _size_of(kind, picture, header)))
        for picture, header, possible in zip(pictures, headers, kinds, strict=True)
    ]
    votes: dict[tuple[str, ...], Counter[str]] = {}
    for possible, fits in zip(kinds, fitting, strict=True):
        if len(possible) > 1 and len(fits) == 1:
            votes.setdefault(possible, Counter())[fits[0]] += 1
    turned = _chosen(votes.get((TURNED, SAME))) == TURNED
    frames: list[Frame | str] = []
    counts: Counter[str] = Counter()
    for picture, header, possible, fits in zip(pictures, headers, kinds, fitting, strict=True):
        if header is None:
            size = picture.size or (_UNKNOWN, _UNKNOWN)
            frames.append(Frame(size, size))
            continue
        if len(possible) == 1:
            # A mirrored picture has the size of an upright one: what the others of the tool show goes for it, too.
            mirrored = turned and header.orientation > 1 and not header.is_turned and picture.size is not None
            frames.append(Frame(header.upright, header.upright, header.orientation if mirrored else 1))
            continue
        kind = fits[0] if len(fits) == 1 else _chosen(votes.get(possible)) or _default(picture, header, possible)
        if kind in (None, LYING):
            frames.append(_question(picture, header))
            continue
        assert kind is not None
        counts[NOTES[kind]] += 1
        frames.append(_frame(kind, picture, header))
    return Readings(tuple(frames), counts)


def _kinds(picture: AnnotatedPicture, header: Header | None) -> tuple[str, ...]:
    """The readings that are possible, the most literal first."""
    if header is None or picture.size is None or picture.size == header.upright:
        return (SAME,)
    if all(each.is_fraction or each.box is None for each in picture.objects):
        return (SAME,)  # fractions, or nothing with a place
    if header.is_turned and picture.size == header.stored:
        return (TURNED, SAME)
    if picture.size == header.upright[::-1]:
        return (LYING, SAME)
    return (SCALED, SAME)


def _size_of(kind: str, picture: AnnotatedPicture, header: Header | None) -> Size | None:
    """The size of the picture that boxes of a reading lie in."""
    if kind == SAME:
        return None if header is None else header.upright
    return picture.size


def _fits(picture: AnnotatedPicture, size: Size | None) -> bool:
    boxes = [each.box for each in picture.objects if each.box is not None and not each.is_fraction]
    return size is None or all(box[2] <= size[0] + _TOLERANCE and box[3] <= size[1] + _TOLERANCE for box in boxes)


def _chosen(votes: Counter[str] | None) -> str | None:
    if not votes:
        return None
    kind, most = votes.most_common(1)[0]
    return kind if most >= _MAJORITY * votes.total() else None


def _default(picture: AnnotatedPicture, header: Header, possible: tuple[str, ...]) -> str | None:
    """Of a picture that kept its proportions, a written size is that of before."""
    assert picture.size is not None
    across, down = (new / old for new, old in zip(header.upright, picture.size, strict=True))
    # Sides are rounded to whole pixels.
    slack = max(1 / min(header.upright), 1 / min(picture.size))
    return SCALED if SCALED in possible and abs(across / down - 1) <= slack else None


def _frame(kind: str, picture: AnnotatedPicture, header: Header) -> Frame:
    assert picture.size is not None
    if kind == SAME:
        return Frame(header.upright, header.upright)
    return Frame(header.upright, picture.size, header.orientation if kind == TURNED else 1)


def _question(picture: AnnotatedPicture, header: Header) -> str:
    assert picture.size is not None
    (width, height), (across, down) = picture.size, header.upright
    seen = f"{across}×{down}" + (" (turned upright by EXIF)" if header.is_turned else "")
    return (
        f"the annotation is of an image of {width}×{height}, but it is {seen}, and the boxes may count in either: "
        "correct the size in the annotation"
    )
