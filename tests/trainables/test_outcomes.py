"""What an epoch's report tells of each val example: written short, read back the same, refused when it is something
else."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.contract import EpochReport
from trainables.errors import ContractBroken
from trainables.local import LocalHandle
from trainables.outcomes import MOST_EXAMPLES, packed, unpacked


@pytest.mark.parametrize("number", [1, 7, 8, 9, 56, 1_000])
def test_right_and_wrong_come_back_as_they_were(number: int) -> None:
    right = np.random.default_rng(number).random(number) < 0.7
    assert (unpacked(packed(right)) == right).all()


def test_answers_right_in_part_come_back_nearly_as_they_were() -> None:
    right = [0.0, 0.25, 2 / 3, 1.0]
    assert unpacked(packed(right)).tolist() == pytest.approx(right, abs=0.5 / 255 + 1e-6)


def test_a_thousand_examples_take_less_than_two_hundred_characters() -> None:
    assert len(packed([1.0, 0.0] * 500)) < 200


def test_a_large_val_set_costs_nothing() -> None:
    assert packed(np.ones(MOST_EXAMPLES)) != ""
    assert packed(np.ones(MOST_EXAMPLES + 1)) == ""


@pytest.mark.parametrize("text", ["yes", "b8", "b8:", "b99:AAAA", "p2:AAAA", "b8:?", "b0:"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="outcomes"):
        unpacked(text)


def test_a_report_with_other_outcomes_is_the_trainables_mistake(tmp_path) -> None:
    handle = LocalHandle(tmp_path)
    with pytest.raises(ContractBroken, match=r"trainables\.outcomes\.packed.*epoch 1"):
        handle.report(EpochReport(1, {"val_accuracy": 0.5}, outcomes=[1.0, 0.0]))  # type: ignore[arg-type]


def test_outcomes_survive_in_the_checkpoint(tmp_path) -> None:
    right = packed([1.0, 0.0, 1.0])
    LocalHandle(tmp_path).report(EpochReport(1, {"val_accuracy": 2 / 3}, right), save=lambda folder: None)
    resumed = LocalHandle(tmp_path, attempt=2).resumed
    assert resumed is not None
    assert resumed.history[0].outcomes == right
