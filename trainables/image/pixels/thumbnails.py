"""Small pictures of examples, for people to look at: as the model sees them, but in their own proportions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from trainables.errors import DataError
from trainables.image.index import ImageIndex
from trainables.image.pixels.decode import open_image, to_pixels
from trainables.image.pixels.pictures import pictures_of
from trainables.image.settings.pixel_rule import PixelRule

QUALITY = 80
"""Of JPEG: artefacts are not seen at this size."""


def thumbnails(index: ImageIndex, examples: Sequence[str], size: int, rule: PixelRule) -> Mapping[str, bytes]:
    """JPEGs of examples, cut out and masked as the model sees them.

    Args:
        index: of the dataset.
        examples: their names.
        size: the longer side, in pixels.
        rule: how pictures are read.

    Returns:
        By name. Examples that the index does not have, or whose file cannot be read any more, are left out.
    """
    rows = np.flatnonzero(pc.is_in(index.table["example"], pa.array(examples, pa.string())).to_numpy())
    wanted = index.table.take(pa.array(rows))
    names = wanted["example"].to_pylist()
    found: dict[str, bytes] = {}
    for picture in pictures_of(wanted):
        try:
            image = open_image(picture.read(), rule=rule, name=picture.name)
            for row, region in zip(picture.rows, picture.regions, strict=True):
                found[names[row]] = jpeg(to_pixels(image, box=region.box, mask=region.mask), size)
        except (DataError, ValueError, OSError):
            # Moved or damaged since the sweep: who asked shows words in its place.
            continue
    return found


def jpeg(pixels: npt.NDArray[np.uint8], side: int) -> bytes:
    """A small picture of (H, W) or (H, W, C) pixels, one or three channels, as JPEG.

    Args:
        pixels: of the picture.
        side: the longer side; a picture of less than half of it is enlarged, pixel by pixel.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    if max(image.size) < side // 2:
        factor = side // max(image.size)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
