"""How right a model was on each val example, as the short text in an epoch's report.

One bit per example where answers are right or wrong, one byte where they may be right in part. From these bits the
sweep tells which trials cannot be told apart, and how far choosing among them flatters the best.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_EXAMPLES = 10_000
"""Of more nothing is recorded: 1.7 kB per epoch is the most that the log takes, and choosing on so many flatters by
less than one percent."""
_STEPS = 255


def packed(right: Sequence[float] | npt.NDArray[Any]) -> str:
    """The text for `EpochReport.outcomes`; empty for more than `MOST_EXAMPLES` examples, or none.

    Args:
        right: 0 to 1 for each val example, in the same order in every epoch and in `Trainable.evaluate`.
    """
    scores = np.asarray(right, dtype=np.float64)
    if not 0 < len(scores) <= MOST_EXAMPLES:
        return ""
    whole = scores.round()
    if (whole == scores).all():
        return f"b{len(scores)}:{_text(np.packbits(whole.astype(np.uint8)))}"
    return f"p{len(scores)}:{_text(np.round(scores.clip(0, 1) * _STEPS).astype(np.uint8))}"


def unpacked(text: str) -> npt.NDArray[np.float32]:
    """What `packed` was given, shape (N,), to half a 255th.

    Raises:
        ValueError: it is no such text.
    """
    head, colon, body = text.partition(":")
    if not colon or head[:1] not in ("b", "p") or not head[1:].isdecimal():
        raise ValueError(f"outcomes {text[:20]!r} were not written by trainables.outcomes.packed")
    number = int(head[1:])
    try:
        values = np.frombuffer(base64.b64decode(body, validate=True), dtype=np.uint8)
    except binascii.Error as error:
        raise ValueError(f"outcomes {text[:20]!r} were not written by trainables.outcomes.packed: {error}") from error
    long_enough = len(values) == (number if head[0] == "p" else (number + 7) // 8)
    if not 0 < number <= MOST_EXAMPLES or not long_enough:
        raise ValueError(f"outcomes {text[:20]!r} do not hold what they say: {number} examples")
    if head[0] == "p":
        return (values / np.float32(_STEPS)).astype(np.float32)
    return np.unpackbits(values, count=number).astype(np.float32)


def _text(values: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(values.tobytes()).decode()
