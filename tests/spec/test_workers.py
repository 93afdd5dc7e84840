"""`workers` as a key of resources, and as a parameter that is not a hyperparameter."""

from __future__ import annotations

from collections.abc import Callable

from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.plan import Plan

PlanOf = Callable[..., Plan]
ProblemsOf = Callable[..., str]

TEXT = """
    name: x
    trainable: image_classifier
    data: {dataset: digits}
    fixed: {model: mlp6, pretrained: false, finetune: scratch}
    space:
      lr: [0.1, 0.01]
      workers: [1, 2, 4]
      batch_size: {values: [64, 128], when: {workers: [2, 4]}}
    baselines:
      alone: {lr: 0.1, workers: 1}
      four: {lr: 0.1, workers: 4, batch_size: 128}
"""


def test_workers_in_the_space_is_a_parameter_and_not_in_the_config(plan_of: PlanOf) -> None:
    plan = plan_of(TEXT)
    assert plan.workers == (1, 2, 4)
    assert plan.grid_size == 2 * (1 + 2 * 2)
    assert "workers" not in plan.candidates
    assert plan.spec.workers_of(plan.spec.baselines["four"]) == 4
    assert plan.make_config(plan.spec.baselines["four"]).model_dump()["batch_size"] == 128
    assert "workers" not in plan.spec.config_of(plan.spec.baselines["four"])


def test_where_the_space_has_none_it_is_that_of_resources(plan_of: PlanOf) -> None:
    text = TEXT.replace("workers: [1, 2, 4]", "workers: {low: 2, high: 8, log: true, when: {lr: 0.1}}")
    text = text.replace("when: {workers: [2, 4]}", "when: {lr: 0.1}").replace("alone: {lr: 0.1, workers: 1}", "")
    plan = plan_of(text, "resources.workers=3")
    assert set(plan.workers) == {2, 8, 3}
    assert plan.spec.workers_of({"lr": 0.01}) == 3
    assert isinstance(plan.spec, SweepSpec)


def test_what_cannot_be_is_told_at_its_place(problems_of: ProblemsOf) -> None:
    assert "sweep.yaml:8: space.workers is 0" in problems_of(TEXT.replace("[1, 2, 4]", "[0, 1]"))
    assert "space.workers is '2'" in problems_of(TEXT.replace("[1, 2, 4]", "['2', 4]"))
    assert "workers is 3: outside the space" in problems_of(TEXT.replace("workers: 4,", "workers: 3,"))
    assert "Put it under resources" in problems_of(TEXT, "fixed.workers=2", "space.workers=null", "baselines={}")
    told = problems_of(TEXT, "resources.gpus=0.5")
    assert "each of several workers needs a whole GPU" in told


def test_a_trainable_that_trains_in_one_process_is_refused(problems_of: ProblemsOf, plan_of: PlanOf) -> None:
    assert "own_trainable:Own trains in one process, not in 2" in problems_of(None, "resources.workers=2")
    assert "space.workers: own_trainable:Own trains in one" in problems_of(None, "space.workers=[1, 4]", "baselines={}")
    assert plan_of(None, "space.workers=[1]").workers == (1,)
