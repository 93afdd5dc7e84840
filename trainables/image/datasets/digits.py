"""Scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels that need no download."""

from __future__ import annotations

import io

import numpy as np

from trainables.contract import Progress, no_progress
from trainables.image.datasets.base import Dataset, Example, Listing, table_of, unused_but

LEVELS = 16  # the digits' pixels are 0 (white paper) to 16


class Digits(Dataset):
    """The digits 0 to 9. From UCI's Optical Recognition of Handwritten Digits, test part."""

    needs_root = False
    unused_settings = ("root", *unused_but())

    def examples(self, progress: Progress = no_progress) -> Listing:
        from PIL import Image
        from sklearn.datasets import load_digits

        found = load_digits()
        pictures = np.rint(found.images * (255 / LEVELS)).astype(np.uint8)
        examples = []
        for number, (picture, label) in enumerate(zip(pictures, found.target, strict=True)):
            encoded = io.BytesIO()
            Image.fromarray(picture).save(encoded, format="PNG")
            examples.append(Example(f"digit-{number:04d}", [int(label)], image=encoded.getvalue()))
        return Listing(table_of(examples), tuple(str(name) for name in found.target_names))
