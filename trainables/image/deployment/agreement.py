"""Compares an exported model with the trained one on real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.errors import NotExportable, TrainableError
from trainables.image.package import Package

TOLERANCE = 1e-3
"""Largest difference of a probability, as a fraction of the row's largest one (1 for multi-label models).

Sound exports differ by 1e-7 to 1e-5 (other order of float32 sums). With thousands of classes every
probability is small, hence relative to the row's largest. Two models within the tolerance can name
different classes only where the two best are within twice of it: a tie for all practical purposes.
"""
ROUNDING = 3.0
"""How many times as far from its values in double precision as the trained model itself an export may be.

Rounding grows through a deep, barely trained net: ResNet-152 after two steps is 1.3e-3 away from itself in double
precision, and its export 1.5e-3, the one rounding being no better than the other.
"""
BATCH_SIZES = (1, 7, 32)
"""What the batches of the comparison are cut into, in turn: one alone, an odd number, and a usual one."""

Pixels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """How well the exported model agrees with the trained one.

    Attributes:
        split: the images are from; num_images of them.
        num_decisions: images, or images × labels for a multi-label model.
        num_agreeing: decisions (best class, or label yes or no) that are the same.
        max_difference: the largest absolute difference of two probabilities.
        tolerance: see `TOLERANCE`; worst_ratio, the largest difference relative to what is allowed.
        batch_sizes: tried.
        rounding: how far the trained model is from itself in double precision; None: within `TOLERANCE` nobody asks.
    """

    split: str
    num_images: int
    num_decisions: int
    num_agreeing: int
    max_difference: float
    worst_ratio: float
    batch_sizes: tuple[int, ...]
    tolerance: float = TOLERANCE
    rounding: float | None = None

    @property
    def agrees(self) -> bool:
        return self.worst_ratio <= 1.0  # False for NaN, too

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "batch_sizes": list(self.batch_sizes)}


def check_file(path: Path) -> None:
    """Checks the ONNX file by ONNX's own rules, with shape inference.

    Raises:
        NotExportable: it breaks them.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise NotExportable(f"the exported ONNX file is not valid, and was not published: {reason}") from error


def compare(
    package: Package,
    reference: Callable[[Pixels], Probabilities],
    images: Pixels,
    split: str,
    exact: Callable[[Pixels], npt.NDArray[np.float64] | None] | None = None,
) -> Agreement:
    """Runs both models on the same images.

    Where they differ by more than `TOLERANCE`, both are compared with the trained model in double precision: a model
    that rounding alone takes that far cannot be exported any better.

    Args:
        package: the exported model.
        reference: the trained model: (N, H, W, C) → (N, classes).
        images: (N, H, W, C), at least one.
        split: that they are from, for the record.
        exact: the trained model in double precision, as `reference`; None where it cannot be had.
    """
    assert len(images), "nothing to compare on"
    facts = package.facts
    expected, actual, used = [], [], []
    for start, size in _cuts(len(images), BATCH_SIZES):
        batch = images[start : start + size]
        expected.append(reference(batch))
        actual.append(package.probabilities(batch))
        used.append(len(batch))
    trained, exported = np.concatenate(expected), np.concatenate(actual)
    assert trained.shape == exported.shape == (len(images), len(facts.classes)), (trained.shape, exported.shape)
    difference = np.abs(trained - exported)
    scale = np.ones((len(images), 1)) if facts.multilabel else trained.max(axis=1, keepdims=True)
    if facts.multilabel:
        same = (trained >= facts.thresholds) == (exported >= facts.thresholds)
    else:
        same = trained.argmax(axis=1) == exported.argmax(axis=1)
    worst_ratio, rounding = float((difference / (TOLERANCE * scale)).max()), None
    if worst_ratio > 1.0 and exact is not None and (values := exact(images)) is not None:
        rounding = float(np.abs(trained - values).max())
        away = np.abs(exported - values)
        worst_ratio = float((away / np.maximum(TOLERANCE * scale, ROUNDING * rounding)).max())
    return Agreement(
        split=split,
        num_images=len(images),
        num_decisions=int(same.size),
        num_agreeing=int(same.sum()),
        max_difference=float(difference.max()),
        worst_ratio=worst_ratio,
        batch_sizes=tuple(sorted(set(used))),
        rounding=rounding,
    )


def require(agreement: Agreement) -> None:
    """Lets only a model pass that agrees.

    Raises:
        TrainableError: it does not; says by how much.
    """
    if not agreement.agrees:
        raise TrainableError(
            f"the exported model does not agree with the trained one and is not published: on {agreement.num_images} "
            f"{agreement.split} images probabilities differ by up to {agreement.max_difference:.2g} "
            f"({agreement.worst_ratio:.2g} times what is allowed), and {agreement.num_agreeing} of "
            f"{agreement.num_decisions} decisions are the same"
        )


def without_folders(value: Any) -> Any:
    """The JSON-ready value with absolute paths cut down to their last part: a package travels."""
    if isinstance(value, Mapping):
        return {str(key): without_folders(item) for key, item in value.items()}
    if isinstance(value, str):
        return Path(value).name if value.startswith(("/", "~")) and Path(value).name else value
    if isinstance(value, Sequence):
        return [without_folders(item) for item in value]
    return value


def _cuts(count: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Cuts `count` into (start, size) pieces: each size once in turn, the last one for all the rest."""
    cuts, start, turn = [], 0, 0
    while start < count:
        size = sizes[min(turn, len(sizes) - 1)]
        cuts.append((start, size))
        start, turn = start + size, turn + 1
    return cuts
