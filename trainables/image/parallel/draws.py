"""Random numbers for a part of a batch: drawn for all of it, so that images do not depend on who has which."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Part:
    """Which examples of a whole are at hand.

    Attributes:
        whole: how many there are in all.
        rows: the numbers of those at hand, (N,) int64.
    """

    whole: int
    rows: torch.Tensor


@dataclass(frozen=True)
class Draws:
    """A generator that is asked for a part, and moves on by the whole."""

    generator: torch.Generator
    part: Part


Source = torch.Generator | Draws


def uniform(source: Source, *shape: int, axis: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Numbers in 0…1 of this shape, in which `axis` goes over the examples at hand."""
    if isinstance(source, torch.Generator):
        return torch.rand(shape, generator=source, dtype=dtype)
    whole = (*shape[:axis], source.part.whole, *shape[axis + 1 :])
    return torch.rand(whole, generator=source.generator, dtype=dtype).index_select(axis, source.part.rows)


def whole_numbers(source: Source, low: int, high: int, num: int) -> torch.Tensor:
    """Whole numbers from low to below high, one for each of the `num` examples at hand."""
    if isinstance(source, torch.Generator):
        return torch.randint(low, high, (num,), generator=source)
    return torch.randint(low, high, (source.part.whole,), generator=source.generator)[source.part.rows]
