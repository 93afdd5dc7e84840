"""Writes pictures with a table of labels, to try own_dataset.py on: pieces of the two photos that scikit-learn brings.

python examples/write_pictures.py /tmp/pictures
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def write_pictures(folder: Path, size: int = 32) -> None:
    """Cuts two pieces at each place of a photo; they overlap, so they are one group: who saw one knows the other.

    Args:
        folder: for the pictures and labels.csv.
        size: of a piece, in pixels.
    """
    from PIL import Image, ImageStat
    from sklearn.datasets import load_sample_images

    shift = size // 8
    step = size + shift  # pieces of different places have nothing in common
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "group"])
        for label, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
            photo = Image.fromarray(pixels)
            for top in range(0, photo.height - step, step):
                for left in range(0, photo.width - step, step):
                    place = f"{label}-{top:03d}-{left:03d}"
                    for offset in (0, shift):
                        box = (left + offset, top + offset, left + offset + size, top + offset + size)
                        piece = photo.crop(box)
                        if ImageStat.Stat(piece).stddev[0] > 20:  # sky shows nothing
                            piece.save(folder / f"{place}-{offset}.png")
                            table.writerow([f"{place}-{offset}.png", label, place])


if __name__ == "__main__":
    write_pictures(Path(sys.argv[1]))
