"""How images are read, as a sweep file says it: limits, bands, and which values are black and white."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb

ValueRange = tuple[float, float]
"""The value that becomes 0, and the one that becomes 255."""

SIXTEEN_BITS: ValueRange = (0.0, 65535.0)


@dataclass(frozen=True)
class PixelRule:
    """How pictures are read.

    Attributes:
        max_pixels: a picture with more is refused before it is decoded.
        bands: which bands become red, green and blue (or, one band, grey), counted from 1; None: as the file says.
        value_range: of pictures with more than 8 bits: what becomes 0 and 255. auto: as the file says, or else
            `found`; picture: each picture's own smallest and largest value.
        found: the range of the data set's pictures that do not say one themselves; None: that of 16 bits, and for
            other numbers the picture's own.
    """

    max_pixels: int = MAX_PIXELS
    bands: tuple[int, ...] | None = None
    value_range: ValueRange | Literal["auto", "picture"] = "auto"
    found: ValueRange | None = None

    @property
    def digest(self) -> str:
        """What of it changes pixels; empty where nothing was chosen or found."""
        changed = [f"bands {self.bands}"] if self.bands else []
        if self.value_range != "auto":
            changed.append(f"range {self.value_range}")
        elif self.found is not None:
            changed.append(f"found {self.found}")
        return ", ".join(changed)


DEFAULT_RULE = PixelRule()


def common_range(ranges: Iterable[tuple[float, float, bool]]) -> ValueRange | None:
    """One range for pictures that do not say theirs.

    Args:
        ranges: of each such picture its smallest and largest value, and whether its values are whole numbers.

    Returns:
        Whole numbers: from 0 to the largest of the fewest bits that hold them all, from 8 bits on. Fractions: 0 to 1
        or 0 to 255 where they are within. Anything else: from the smallest to the largest value. None: no picture.
    """
    known = list(ranges)
    if not known:
        return None
    low, high = min(each[0] for each in known), max(each[1] for each in known)
    whole = all(each[2] for each in known)
    if low >= 0 and whole and high <= SIXTEEN_BITS[1]:
        return 0.0, float(2 ** max(8, int(high).bit_length()) - 1)
    if low >= 0 and not whole and high <= 255:
        return 0.0, 1.0 if high <= 1 else 255.0
    return low, high
