"""Writes handwritten digits as images, one folder per digit, to try a model of the quickstart sweep on.

python examples/write_digits.py digits
"""

from __future__ import annotations

import sys
from pathlib import Path


def write_digits(folder: Path, num_each: int = 5) -> None:
    """Writes some of scikit-learn's digits; the sweep has trained on most of them.

    Args:
        folder: for the folders `0` to `9`.
        num_each: images of each digit.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures = np.rint(found.images * (255 / 16)).astype(np.uint8)  # the pixels are 0 to 16
    for digit in found.target_names:
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        for number in np.flatnonzero(found.target == digit)[:num_each]:
            Image.fromarray(pictures[number]).save(folder / str(digit) / f"{number:04d}.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_digits(Path(sys.argv[1]))
