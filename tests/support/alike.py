"""What is promised of the same training done in another way (by more workers, on stored features, in parts).

The examples come in the same order and are changed alike, and what is drawn at random is the same: that is exact.
Losses agree within a relative bound that grows with the epochs, because sums are rounded in another order, on every
kind of processor in its own way, and training carries on whatever differs. A figure that counts examples differs at
most by what a few examples are worth that were on the edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest

AFTER_ONE_EPOCH = 1e-4
"""How far losses may be apart, relative to them, after one epoch."""
PER_EPOCH = 10.0
"""How many times as far after each further one."""
_VANISHED = 1e-3
"""A loss below is compared as if it were this large: it has no digits left to agree on."""
_ON_THE_EDGE = 2
_EXACT = ("lr", "num_parameters")


def bound(epoch: int) -> float:
    """How far losses may be apart after an epoch, relative to them."""
    return float(AFTER_ONE_EPOCH * PER_EPOCH ** (epoch - 1))


def assert_alike(
    found: Sequence[Mapping[str, float]],
    expected: Sequence[Mapping[str, float]],
    num_val: int,
    *,
    first_epoch: int = 1,
    without: Iterable[str] = (),
) -> None:
    """Asserts that two trainings report the same, as far as that is promised.

    Args:
        found: metrics, one mapping per epoch.
        expected: likewise.
        num_val: examples that each is validated on.
        first_epoch: of the first mapping, counted from where both had the same state.
        without: names that are not compared.
    """
    assert len(found) == len(expected) > 0
    for epoch, (one, other) in enumerate(zip(found, expected, strict=True), start=first_epoch):
        assert one.keys() - {*without} == other.keys() - {*without}
        for name in one.keys() - {*without}:
            where = f"{name} in epoch {epoch}"
            if name in _EXACT:
                assert one[name] == pytest.approx(other[name], rel=1e-9), where
            elif name.endswith("_loss"):
                assert one[name] == pytest.approx(other[name], rel=bound(epoch), abs=bound(epoch) * _VANISHED), where
            else:
                assert one[name] == pytest.approx(other[name], abs=bound(epoch) + _ON_THE_EDGE / num_val), where
