"""Images that a program holds, predicted as files are: PIL images and arrays beside paths."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from trainables.errors import DataError
from trainables.image.deployment.predict import find_images, predict_paths, predictions_schema
from trainables.image.package import Package


def predict_given(package: Package, images: Any, num_threads: int = 1) -> pa.Table:
    """Predicts images, in the order given.

    Args:
        package: the model.
        images: a path (of a folder: all images in it), a PIL image, an array (H, W) or (H, W, 3) of uint8, or several.
        num_threads: threads that decode and run the model.

    Returns:
        Rows as in `predictions_schema`; the path of an image that is not a file is null.

    Raises:
        DataError: there is no such file, or something is no image.
    """
    several = [images] if _is_one(images) else list(images)
    with tempfile.TemporaryDirectory(prefix="sweep-images-") as folder:
        paths, held = [], []
        for number, image in enumerate(several):
            if isinstance(image, str | os.PathLike):
                found = find_images([Path(image)])
            else:
                found = [Path(folder) / f"{number}.png"]
                _as_picture(image, number).save(found[0])
            paths += found
            held += [not isinstance(image, str | os.PathLike)] * len(found)
        batches = list(predict_paths(package, paths, num_threads=num_threads))
    table = pa.Table.from_batches(batches, schema=predictions_schema(package.facts))
    names = [None if is_held else name for name, is_held in zip(table["path"].to_pylist(), held, strict=True)]
    return table.set_column(0, "path", pa.array(names, pa.string()))


def _is_one(images: Any) -> bool:
    if isinstance(images, str | os.PathLike | Image.Image):
        return True
    if isinstance(images, np.ndarray):
        return images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (1, 3, 4))
    return not isinstance(images, Sequence | Iterable)


def _as_picture(image: Any, number: int) -> Image.Image:
    if isinstance(image, Image.Image):
        return image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else image.convert("RGB")
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3, 4)):
        raise DataError(
            f"image {number} is {type(image).__name__} of {array.dtype} with shape {array.shape}: an array of an image "
            "has the type uint8 and the shape (height, width) or (height, width, 3)"
        )
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)
