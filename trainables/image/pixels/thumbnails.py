"""Small pictures of examples, for people to look at: as the model sees them, but in their own proportions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
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
_SMALLEST = 48  # pixels: smaller pictures are enlarged, pixel by pixel


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
                found[names[row]] = _jpeg(to_pixels(image, box=region.box, mask=region.mask), size)
        except (DataError, ValueError, OSError):
            # Moved or damaged since the sweep: who asked shows words in its place.
            continue
    return found


def _jpeg(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], size: int) -> bytes:
    image = Image.fromarray(pixels)
    if max(image.size) < _SMALLEST:
        factor = size // max(image.size)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((size, size))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
