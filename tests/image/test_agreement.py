"""An export is held against the trained model; where rounding alone takes that far, both against double precision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from trainables.image.config import ImageConfig
from trainables.image.deployment.agreement import compare
from trainables.image.deployment.exactly import exact_probabilities
from trainables.image.deployment.onnx_graph import DeployedClassifier
from trainables.image.models.factory import build_model
from trainables.image.package import PackageFacts

IMAGES = np.zeros((5, 8, 8, 3), dtype=np.uint8)


def answers(first: float) -> npt.NDArray[np.float32]:
    return np.tile(np.asarray([first, 1 - first], dtype=np.float32), (len(IMAGES), 1))


@pytest.mark.parametrize(
    ("trained", "exported", "exact", "agrees"),
    [
        (0.6, 0.6005, None, True),
        (0.6, 0.602, None, False),  # nobody can tell whether it is rounding
        (0.6, 0.602, 0.6000001, False),  # it is not
        (0.6, 0.602, 0.6009, True),  # the trained model is as far away
        (0.6, 0.61, 0.601, False),  # it is not as far
    ],
)
def test_rounding_is_told_from_an_error(trained: float, exported: float, exact: float | None, agrees: bool) -> None:
    package: Any = SimpleNamespace(
        facts=PackageFacts(("a", "b"), False, 8, 3), probabilities=lambda batch: answers(exported)[: len(batch)]
    )
    found = compare(
        package,
        lambda batch: answers(trained)[: len(batch)],
        IMAGES,
        "val",
        lambda images: None if exact is None else answers(exact).astype(np.float64),
    )
    assert found.agrees == agrees
    looked = exact is not None and exported != 0.6005
    assert found.rounding == (pytest.approx(abs(trained - (exact or 0)), abs=1e-6) if looked else None)


def test_double_precision_leaves_the_model_as_it_is() -> None:
    config = ImageConfig(model="resnet10t", finetune="scratch", input_resolution=32)
    torch.manual_seed(0)
    net = build_model(config, 3).eval()
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    exact = exact_probabilities(DeployedClassifier(net, (0.5,) * 3, (0.25,) * 3, False), images)
    assert exact is not None
    assert exact.dtype == np.float64
    assert exact.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
