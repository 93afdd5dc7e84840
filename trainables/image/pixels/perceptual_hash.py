"""The perceptual hash of a picture: what near-duplicates are found by, whichever way up they are.

It is imagehash's `phash` of 16×16 bits (Zauner 2010): which of the 256 lowest frequencies of the grey picture, shrunk
to 64×64 pixels, lie above their median. imagehash would be asked once for each of eight orientations. Turning a picture
only exchanges and negates its frequencies, so one cosine transform serves for all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

HASH_SIZE = 16
NUM_ORIENTATIONS = 8
MIN_SIDE = 32
"""Pixels. Smaller pictures look alike without being copies."""
LOW = 8  # the 8×8 lowest frequencies are the first word

_THUMBNAIL = 64  # pixels; what phash of this size works on
_FLAT = 2.0  # a picture whose grey levels deviate less shows nothing: its bits would be noise

Words = npt.NDArray[np.uint64]
"""The hash of a picture in each orientation, (8, 4) words of 64 bits; the low frequencies are the first word."""

_odd = np.resize([1.0, -1.0], HASH_SIZE)
_SIGNS = np.stack([np.ones((HASH_SIZE, HASH_SIZE)), *np.broadcast_arrays(_odd, _odd[:, None]), np.outer(_odd, _odd)])
"""Of the frequencies of a picture as it is, mirrored, flipped, and both."""
_is_low = np.zeros((HASH_SIZE, HASH_SIZE), dtype=bool)
_is_low[:LOW, :LOW] = True
_ORDER = np.concatenate([np.flatnonzero(_is_low), np.flatnonzero(~_is_low)])


def hashes_of(image: Image.Image) -> Words:
    """The hashes of a picture; all zero of one that shows nothing.

    Args:
        image: upright, of mode `L` or `RGB`.
    """
    from scipy.fft import dctn

    thumbnail = image.convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR)
    grey = np.asarray(thumbnail, dtype=np.float64)
    if grey.std() < _FLAT:
        return np.zeros((NUM_ORIENTATIONS, 4), dtype=np.uint64)
    frequencies = dctn(grey)[:HASH_SIZE, :HASH_SIZE]
    turned = np.concatenate([_SIGNS * frequencies, _SIGNS * frequencies.T])
    bits = turned > np.median(turned, axis=(1, 2), keepdims=True)
    bits[:, 0, 0] = False  # the mean brightness, which inversion leaves as it is
    ordered = bits.reshape(NUM_ORIENTATIONS, -1)[:, _ORDER]
    return np.ascontiguousarray(np.packbits(ordered, axis=1)).view(np.uint64)
