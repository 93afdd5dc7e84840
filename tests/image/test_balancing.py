from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from trainables.image.data.balancing import class_weights, sample_weights, sampled_rows
from trainables.image.datasets.base import Example, table_of
from trainables.image.index import ImageIndex


def index_of(labels: Sequence[Sequence[int]], multilabel: bool = False, num_classes: int = 3) -> ImageIndex:
    """All of it train, but for one more val example of each class."""
    examples = [Example(f"{row}", each, image=b"x", split="train") for row, each in enumerate(labels)]
    examples += [Example(f"val{label}", [label], image=b"x", split="val") for label in range(num_classes)]
    return ImageIndex(table_of(examples), tuple("abc"[:num_classes]), multilabel, "")


SINGLE = [[0]] * 60 + [[1]] * 30 + [[2]] * 10
MULTI = [[0]] * 50 + [[0, 1]] * 30 + [[2]] * 10 + [[]] * 10


def test_class_weights_are_those_of_scikit_learn() -> None:
    weights = class_weights(index_of(SINGLE))
    labels = np.array(SINGLE).ravel()
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights[labels].mean() == pytest.approx(1)
    assert weights.dtype == np.float32


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_power_goes_part_of_the_way_and_keeps_the_mean(power: float) -> None:
    weights = class_weights(index_of(SINGLE), power)
    assert weights[np.array(SINGLE).ravel()].mean() == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx(6**power)


def test_class_weights_of_multi_label_are_negatives_to_positives() -> None:
    np.testing.assert_allclose(class_weights(index_of(MULTI, multilabel=True)), [20 / 80, 70 / 30, 90 / 10])
    everywhere = class_weights(index_of([[0], [0, 1], [0, 2]], multilabel=True))
    assert (everywhere > 0).all()


def test_sampler_draws_every_class_equally_often() -> None:
    index = index_of(SINGLE)
    weights = sample_weights(index)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(np.array(SINGLE).ravel(), weights), [1 / 3] * 3)
    drawn = np.concatenate([sampled_rows(index, 1.0, seed=0, epoch=epoch) for epoch in range(100)])
    assert drawn.max() < 100  # train only
    shares = np.bincount(index.targets[drawn]) / len(drawn)
    np.testing.assert_allclose(shares, [1 / 3] * 3, atol=0.03)


def test_sampler_of_multi_label_goes_by_the_rarest_label() -> None:
    weights = sample_weights(index_of(MULTI, multilabel=True))
    relative = weights / weights[0]
    np.testing.assert_allclose(relative[[0, 50, 80, 90]], [1, 80 / 30, 80 / 10, 80 / 10])


def test_draws_are_a_function_of_seed_and_epoch() -> None:
    index = index_of(SINGLE)
    one, again = (sampled_rows(index, 0.5, 3, 4) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert len(one) == 100
    assert (one != sampled_rows(index, 0.5, 3, 5)).any()
