"""Makes images square, as a `Fit` says: squashed, padded or cropped."""

from __future__ import annotations

from PIL import Image

from trainables.image.pixels.fit import Fit
from trainables.image.pixels.masks import MEAN_COLOR


def make_square(image: Image.Image, side: int, fit: Fit) -> Image.Image:
    """Resizes a picture, bilinear with antialiasing, as the exported graph does it.

    Args:
        image: of mode `L` or `RGB`.
        side: of the square, in pixels.
        fit: how.
    """
    if fit.resize == "crop":
        return _cropped(image, side, fit.shorter(side))
    if fit.resize == "pad":
        return _padded(image, side)
    if image.size == (side, side):
        return image
    return image.resize((side, side), Image.Resampling.BILINEAR)


def _cropped(image: Image.Image, side: int, shorter: int) -> Image.Image:
    width, height = (shorter * length // min(image.size) for length in image.size)
    # timm (torchvision's CenterCrop) rounds halves to even.
    left, top = round((width - side) / 2), round((height - side) / 2)
    if (width, height) == image.size:
        return image.crop((left, top, left + side, top + side))
    # Only what stays is computed: the whole of a panorama could be too much for memory.
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, (left + side) * across, (top + side) * down)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _padded(image: Image.Image, side: int) -> Image.Image:
    longer = max(image.size)
    width, height = (max(1, round(side * length / longer)) for length in image.size)
    small = image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)
    square = Image.new("RGB", (side, side), MEAN_COLOR).convert(image.mode)
    square.paste(small, ((side - width) // 2, (side - height) // 2))
    return square
