"""The size of a picture by its header, without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from trainables.image.pixels.decode import DAMAGED, ORIENTATION, formats

_QUARTER_TURNS = range(5, 9)  # of EXIF's orientations: those that exchange width and height


@dataclass(frozen=True)
class Header:
    """What a picture's header says of its size.

    Attributes:
        stored: width and height as the pixels are stored.
        orientation: EXIF's, 1 (upright) to 8.
    """

    stored: tuple[int, int]
    orientation: int = 1

    @property
    def is_turned(self) -> bool:
        """Whether width and height change places when it is turned upright."""
        return self.orientation in _QUARTER_TURNS

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the picture as it is seen."""
        width, height = self.stored
        return (height, width) if self.is_turned else (width, height)


def header_of(path: Path) -> Header | None:
    """The header of a picture; None when it has no readable one."""
    try:
        with Image.open(path, formats=formats()) as image:
            orientation = image.getexif().get(ORIENTATION)
            return Header(image.size, orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1)
    except DAMAGED:
        return None


def upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture, turned upright, by its header; None when it has no readable one."""
    header = header_of(path)
    return None if header is None else header.upright
