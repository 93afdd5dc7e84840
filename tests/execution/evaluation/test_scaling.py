"""The temperature that a package says: fitted on val, judged on test, or in words why there is none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sweep_runner.execution.evaluation.scaling import scaling
from sweep_runner.results.temperature import scaling_words
from trainables.image.measures.scores import score


def predictions(split: str, seed: int, sharpness: float, right: float) -> pa.Table:
    """Of a model that is as sure as `sharpness` says, and right as often as `right` does."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, 400)
    said = np.where(random.random(400) < right, truth, (truth + 1) % 3)
    logits = (sharpness * np.eye(3)[said] + random.normal(0, 0.1, (400, 3))).astype(np.float32)
    return score(split, [str(each) for each in range(400)], truth, logits, ("a", "b", "c"), False).predictions


def test_a_model_that_is_too_sure_is_cooled_and_test_shows_what_it_brings() -> None:
    told = scaling(predictions("val", 0, 6.0, 0.7), predictions("test", 1, 6.0, 0.7))
    assert told["value"] > 2
    assert told["num_examples"] == 400
    for measure in ("calibration_error", "log_loss"):
        before, after = told[f"test_{measure}"]
        assert after < before / 1.2
    (before, after), words = told["test_calibration_error"], scaling_words(told)
    assert f"on test calibration error {after:.4f} ({before:.4f} without it)" in words
    assert "on val calibration error" in words


def test_without_test_the_figures_are_those_of_val() -> None:
    words = scaling_words(scaling(predictions("val", 0, 6.0, 0.7), None))
    assert "on val calibration error" in words
    assert "test" not in words


@pytest.mark.parametrize(
    ("val", "why"), [(None, "predictions of this model on val"), (predictions("val", 0, 6.0, 1.1), "all 400 val")]
)
def test_why_there_is_none_is_told(val: pa.Table | None, why: str) -> None:
    told = scaling(val, None)
    assert "value" not in told
    assert why in scaling_words(told)
