"""Pictures of more than 8 bits, or of other bands than red, green and blue: from numbers to grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainables.image.settings.pixel_rule import SIXTEEN_BITS, PixelRule, ValueRange

Numbers = npt.NDArray[np.generic]

UPPER_BITS = "of colours of 16 bits the upper 8 are read"


@dataclass(frozen=True)
class Values:
    """A picture's values as its file has them.

    Attributes:
        numbers: (H, W) grey, or (H, W, B).
        declared: what the file says is black and white; None: it says nothing.
        inverted: the smallest value is white.
        is_rgb: the first three bands are red, green and blue.
        upper_bits: of 16 bits only the upper 8 could be read; `remark` is `UPPER_BITS` then.
        remark: what was left out, for the user to know.
    """

    numbers: Numbers
    declared: ValueRange | None = None
    inverted: bool = False
    is_rgb: bool = False
    upper_bits: bool = False
    remark: str = ""

    @property
    def limits(self) -> tuple[float, float, bool] | None:
        """The smallest and largest value, and whether they are whole; None where the file says its range."""
        if self.declared is not None:
            return None
        finite = self.numbers[np.isfinite(self.numbers)] if self.numbers.dtype.kind == "f" else self.numbers
        if not finite.size:
            return 0.0, 0.0, True
        return float(finite.min()), float(finite.max()), self.numbers.dtype.kind in "iub"


def chosen_bands(values: Values, bands: tuple[int, ...] | None) -> tuple[Numbers, str]:
    """The bands that are used, (H, W) or (H, W, 3), and what is left out.

    Raises:
        ValueError: there is no such band, or nobody says which are red, green and blue.
    """
    numbers = values.numbers if values.numbers.ndim == 3 else values.numbers[:, :, np.newaxis]
    count = numbers.shape[2]
    if bands is not None:
        if max(bands) > count:
            raise ValueError(f"data.bands asks for band {max(bands)}, and the image has {count} (counted from 1)")
        chosen, left = numbers[:, :, [band - 1 for band in bands]], ""
    elif count == 1:
        chosen, left = numbers, ""
    elif values.is_rgb and count >= 3:
        chosen, left = numbers[:, :, :3], "bands behind red, green and blue are not used" if count > 3 else ""
    else:
        raise ValueError(
            f"{count} bands, and the file does not say which are red, green and blue: name three, or one for grey, "
            "counted from 1, such as data.bands: [3, 2, 1]"
        )
    return (chosen[:, :, 0] if chosen.shape[2] == 1 else chosen), left


def eight_bits(numbers: Numbers, values: Values, rule: PixelRule) -> npt.NDArray[np.uint8]:
    """Numbers scaled to 0..255; what is outside of the range is clipped.

    Raises:
        ValueError: the range is finer than what could be read.
    """
    low, high = _range(numbers, values, rule)
    if values.upper_bits and high - low < SIXTEEN_BITS[1]:
        raise ValueError(
            f"colours of 16 bits with values from {low:g} to {high:g}, of which the upper 8 bits only can be read: "
            "write them as TIFF that tifffile reads (without or with deflate compression)"
        )
    finite = np.nan_to_num(numbers.astype(np.float64), nan=0.0, posinf=high, neginf=low)
    scale = 255 / (high - low) if high > low else 0.0
    grey = np.rint((np.clip(finite, low, high) - low) * scale).astype(np.uint8)
    return 255 - grey if values.inverted else grey


def _range(numbers: Numbers, values: Values, rule: PixelRule) -> ValueRange:
    if numbers.dtype == np.uint8:
        return 0.0, 255.0
    if isinstance(rule.value_range, tuple):
        return rule.value_range
    if rule.value_range == "auto":
        if values.declared is not None or rule.found is not None:
            return values.declared or rule.found or SIXTEEN_BITS
        if numbers.dtype == np.uint16:
            return SIXTEEN_BITS
    finite = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if rule.value_range == "auto" and numbers.dtype.kind in "iu" and low >= 0 and 255 < high <= SIXTEEN_BITS[1]:
        return SIXTEEN_BITS  # 16-bit grey that the file keeps in 32 bits
    return low, high
