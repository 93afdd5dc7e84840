"""How a picture of any shape becomes the square that a model wants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Resize = Literal["squash", "crop", "pad"]

CROP_FRACTION = 0.875
"""timm's default (`timm.data.constants.DEFAULT_CROP_PCT`)."""


@dataclass(frozen=True)
class Fit:
    """A way to make squares.

    Attributes:
        resize: squash: both sides become those of the square, whatever their proportion was. crop: the shorter side
            becomes the square's divided by `crop_fraction`, and the middle is cut out (timm's evaluation,
            `crop_mode="center"`). pad: the longer side becomes the square's, and the rest is ImageNet's mean colour.
        crop_fraction: crop only.
    """

    resize: Resize = "squash"
    crop_fraction: float = 1.0

    def shorter(self, side: int) -> int:
        """What `crop` makes the shorter side, for a square of this side."""
        return math.floor(side / self.crop_fraction)

    def suffix(self, side: int) -> str:
        """Tells its squares of this side from those of other ways, in names of files; empty for squash."""
        return {"squash": "", "crop": f"-crop{self.shorter(side)}", "pad": "-pad"}[self.resize]

    def describe(self, side: int) -> str:
        """In words, for a square of this side."""
        if self.resize == "squash":
            return f"bilinear with antialiasing to {side}×{side}, sides not kept in proportion"
        if self.resize == "crop":
            return (
                f"bilinear with antialiasing until the shorter side is {self.shorter(side)}, then the middle "
                f"{side}×{side}"
            )
        return f"bilinear with antialiasing until the longer side is {side}, mean colour around it to {side}×{side}"


SQUASH = Fit()
