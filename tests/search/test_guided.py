"""The default search: recipes first, near what is good, away from what fails, whatever the prior says."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from sweep_runner.search.distributions import same_configuration_key
from sweep_runner.search.guide import Guide, Seen
from sweep_runner.spec.recipes import nearest, usual_recipes
from sweep_runner.spec.space import Choice, FloatRange, IntRange
from sweep_runner.spec.strategies import GuidedOptions
from trainables.image.trainable import ImageClassifier
from trainables.synthetic import Synthetic

SPACE: dict[str, Any] = {
    "model": Choice(values=("a", "b")),
    "lr": FloatRange(low=1e-5, high=1.0, log=True),
    "momentum": FloatRange(low=0.0, high=1.0),
}
IMAGE_SPACE: dict[str, Any] = {
    "lr": FloatRange(low=1e-4, high=1e-1, log=True),
    "model": Choice(values=("resnet18", "mobilenetv2_100")),
    "optimizer": Choice(values=("sgd", "adamw")),
    "batch_size": Choice(values=(16, 64)),
}


def quality(params: dict[str, Any]) -> float:
    """Best at network b, lr 0.01, momentum 0.7."""
    return (
        1.0
        - 0.05 * (math.log10(params["lr"]) + 2) ** 2
        - 0.3 * (params["momentum"] - 0.7) ** 2
        - 0.05 * (params["model"] == "a")
    )


def search(
    recipes: list[dict[str, Any]],
    trials: int,
    *,
    seed: int = 0,
    epochs: int = 9,
    completes: int = 3,
    fails: str | None = None,
) -> list[Seen]:
    """A sweep in which one trial of so many runs to its end, the others to a third."""
    guide = Guide(SPACE, {}, recipes, seed, GuidedOptions())
    seen: list[Seen] = []
    for index in range(trials):
        known = {same_configuration_key(trial.params) for trial in seen}
        params = guide.propose(index, seen, known)
        if params["model"] == fails:
            seen.append(Seen(params, {}, failed=True))
            continue
        completed = index % completes == 0
        values = {e: quality(params) * e / epochs for e in range(1, (epochs if completed else epochs // 3) + 1)}
        seen.append(Seen(params, values, completed))
    return seen


def test_a_recipe_of_each_network_comes_first() -> None:
    recipes = [{"model": "b", "lr": 0.1, "momentum": 0.9}, {"model": "a", "lr": 0.01, "momentum": 0.9}]
    assert [trial.params for trial in search(recipes, 2)] == recipes


def test_a_network_with_a_baseline_needs_no_recipe() -> None:
    recipe = {"model": "b", "lr": 0.1, "momentum": 0.9}
    guide = Guide(SPACE, {}, [recipe], 0, GuidedOptions())
    mine = Seen({"model": "b", "lr": 0.5, "momentum": 0.0}, {1: 0.5})
    assert guide.propose(0, [mine], set()) != recipe


@pytest.mark.parametrize("seed", range(3))
def test_later_proposals_are_better_though_most_trials_end_early(seed: int) -> None:
    trials = search([], 45, seed=seed)
    first, last = ([quality(trial.params) for trial in some] for some in (trials[:15], trials[-15:]))
    assert statistics.mean(last) > statistics.mean(first)
    assert statistics.median(last) > 0.98
    assert max(quality(trial.params) for trial in trials) > 0.98


@pytest.mark.parametrize("seed", range(3))
def test_a_prior_that_misleads_is_survived(seed: int) -> None:
    wrong = [{"model": "a", "lr": 1e-5, "momentum": 0.0}, {"model": "b", "lr": 1e-5, "momentum": 0.0}]
    assert max(quality(trial.params) for trial in search(wrong, 45, seed=seed)) > 0.97


def test_a_network_that_one_bad_setting_spoiled_is_tried_with_better_ones() -> None:
    spoiled = [{"model": "b", "lr": 1e-5, "momentum": 0.0}, {"model": "a", "lr": 0.01, "momentum": 0.7}]
    tried = [trial.params for trial in search(spoiled, 25, completes=2)]
    assert sum(params["model"] == "b" and 1e-3 < params["lr"] < 1e-1 for params in tried) >= 4


def test_a_choice_that_always_fails_is_left_alone() -> None:
    trials = search([], 40, fails="a")
    assert sum(trial.params["model"] == "a" for trial in trials[20:]) <= 5


def test_a_small_space_is_searched_without_repetition() -> None:
    space: dict[str, Any] = {"depth": IntRange(low=1, high=4), "kind": Choice(values=("x", "y", "z"))}
    guide = Guide(space, {}, [], 0, GuidedOptions())
    seen: list[Seen] = []
    for index in range(12):
        known = {same_configuration_key(trial.params) for trial in seen}
        params = guide.propose(index, seen, known)
        seen.append(Seen(params, {1: float(params["depth"])}, completed=True))
    assert len({same_configuration_key(trial.params) for trial in seen}) == 12


def test_the_same_trials_give_the_same_proposal() -> None:
    seen = search([], 20)
    again = Guide(SPACE, {}, [], 0, GuidedOptions())
    assert again.propose(20, seen, set()) == Guide(SPACE, {}, [], 0, GuidedOptions()).propose(20, seen, set())


def test_usual_recipes_lie_in_the_space_and_know_the_optimizer(make_spec) -> None:
    spec = make_spec("guided", space=IMAGE_SPACE, fixed={"finetune": "full"})
    recipes = usual_recipes(spec, ImageClassifier)
    assert [recipe["model"] for recipe in recipes] == ["resnet18", "mobilenetv2_100"]
    for recipe in recipes:
        assert all(IMAGE_SPACE[name].contains(value) for name, value in recipe.items())
        assert recipe["optimizer"] == "adamw"  # the default of the classifier, although sgd stands first
    sgd = make_spec("guided", space=IMAGE_SPACE, fixed={"finetune": "full"})
    only_sgd = {**IMAGE_SPACE, "optimizer": Choice(values=("sgd",))}
    of_sgd = usual_recipes(sgd.model_copy(update={"space": only_sgd}), ImageClassifier)
    assert of_sgd[0]["lr"] > recipes[0]["lr"]


def test_a_trainable_that_knows_nothing_gives_no_recipes(make_spec) -> None:
    assert usual_recipes(make_spec("guided", trainable="synthetic", space=SPACE), Synthetic) == []


def test_a_sweep_begins_with_the_usual_recipes(make_spec, open_study, tmp_path) -> None:
    study = open_study(make_spec("guided", space=IMAGE_SPACE, fixed={"finetune": "full"}))
    first = [study.ask() for _ in range(2)]
    assert [proposal.params["model"] for proposal in first] == ["resnet18", "mobilenetv2_100"]
    without = make_spec("guided", space=IMAGE_SPACE, fixed={"finetune": "full"}, options={"usual": False})
    assert open_study(without, tmp_path / "without.journal").ask().params != first[0].params


@pytest.mark.parametrize(
    ("parameter", "wanted", "found"),
    [
        (Choice(values=(16, 64)), 32, 16),
        (Choice(values=("x", "y")), "z", "x"),
        (FloatRange(low=0.1, high=0.5), 0.9, 0.5),
        (FloatRange(low=0.0, high=0.55, step=0.1), 0.26, 0.3),
        (IntRange(low=96, high=230, step=32), 500, 224),
        (FloatRange(low=0.01, high=1.0, log=True), None, 0.1),
        (Choice(values=(1, True)), True, True),
    ],
)
def test_the_nearest_value_of_a_parameter(parameter, wanted, found) -> None:
    value = nearest(parameter, wanted)
    assert type(value) is type(found)
    assert value == pytest.approx(found) if isinstance(found, float) else value == found
    assert parameter.contains(value)
