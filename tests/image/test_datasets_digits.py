from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from trainables.image.data_config import DataConfig
from trainables.image.datasets.digits import Digits
from trainables.image.pixels.decode import decode


def test_every_digit_comes_out_as_it_was() -> None:
    listing = Digits(DataConfig()).examples()
    original = load_digits()
    assert len(listing.table) == 1797
    assert listing.classes == tuple("0123456789")
    assert [label for (label,) in listing.table["labels"].to_pylist()] == original.target.tolist()
    pixels = decode(listing.table["image"][7].as_py(), channels=1)[..., 0]
    assert np.abs(pixels / 255 * 16 - original.images[7]).max() < 0.04
