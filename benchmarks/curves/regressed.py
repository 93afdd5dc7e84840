"""Recorded curves between the recorded settings: a regression instead of the nearest neighbour.

Some hundred recorded settings lie far apart in seven dimensions. The nearest one says little about a proposal (of the
variance of the final accuracy it explains 26 % for heads, 58 % for whole networks, 60 % from scratch; the forest 87 %,
86 % and 75 %, all for settings left out), and a search that looks around a good setting gets the same curve again.
So curves are predicted from settings, as surrogate benchmarks do it, by a random forest: a model of another kind than
those that searches use. What the forest does not explain is given back: each proposal gets the deviation of a recorded
trial that is about as good, drawn anew in each run. The part of it that counting so few unseen pictures explains is
chance; the rest is what this model is worth.

Source: Eggensperger et al. 2015, "Efficient Benchmarking of Hyperparameter Optimizers via Surrogates".
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.curves.sources import Curves, Recorded
from sweep_runner.search.distributions import at_unit, decode, distribution_of
from sweep_runner.spec.space import Scalar

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

Array = npt.NDArray[np.float64]

REGRESSED = "-regressed"
"""What is behind the name of the recorded set."""
_TREES = 100
_ALIKE = 0.2
"""Share of the recorded trials, those closest in predicted accuracy, of which one lends its deviation."""
_NUM_TRIED = 5_000


class _Trees:
    """A fitted forest that predicts one row at a time, in a fiftieth of the time that scikit-learn needs for it."""

    def __init__(self, forest: RandomForestRegressor) -> None:
        trees = [each.tree_ for each in forest.estimators_]
        shape = len(trees), max(tree.node_count for tree in trees)
        self._depth = max(tree.max_depth for tree in trees)
        self._tree = np.arange(len(trees))
        self._next = np.zeros((2, *shape), dtype=np.int64)  # a leaf is its own successor
        self._feature = np.zeros(shape, dtype=np.int64)
        self._threshold = np.zeros(shape)
        self._values = np.zeros((*shape, trees[0].value.shape[1]))
        for number, tree in enumerate(trees):
            nodes = np.arange(tree.node_count)
            leaf = tree.children_left < 0
            self._next[0, number, nodes] = np.where(leaf, nodes, tree.children_left)
            self._next[1, number, nodes] = np.where(leaf, nodes, tree.children_right)
            self._feature[number, nodes] = np.where(leaf, 0, tree.feature)
            self._threshold[number, nodes] = tree.threshold
            self._values[number, nodes] = tree.value[:, :, 0]

    def predict(self, row: Array) -> Array:
        """The mean of the trees' predictions for a row (F,)."""
        features = row.astype(np.float32)  # as scikit-learn compares them
        node = np.zeros_like(self._tree)
        for _ in range(self._depth):
            right = features[self._feature[self._tree, node]] > self._threshold[self._tree, node]
            node = self._next[right.astype(np.int64), self._tree, node]
        return self._values[self._tree, node].mean(axis=0)  # type: ignore[no-any-return]


class Regressed(Curves):
    """Curves like recorded ones, of any settings."""

    def __init__(self, recorded: Recorded, num_unseen: int) -> None:
        """Args:
        recorded: what to learn from.
        num_unseen: pictures that its accuracy on unseen ones was counted on.
        """
        from sklearn.ensemble import RandomForestRegressor

        self.name = recorded.name + REGRESSED
        self.space, self.epochs, self.usual = recorded.space, recorded.epochs, recorded.usual
        self._recorded = recorded
        self._named = {
            name: sorted({str(point[name]) for point in recorded.points})
            for name in self.space
            if isinstance(recorded.points[0][name], str)
        }
        rows = np.array([self._row(point) for point in recorded.points])
        unseen, seen = recorded.accuracies("unseen_accuracy"), recorded.accuracies("val_accuracy")
        forest = RandomForestRegressor(_TREES, max_features=0.5, oob_score=True, random_state=0).fit(rows, unseen)
        self._trees = _Trees(forest)
        predicted: Array = forest.oob_prediction_  # of each trial by the trees that have not learnt from it
        apart = unseen - predicted
        counted = (unseen[:, -1] * (1 - unseen[:, -1])).mean() / num_unseen
        real = max(0.0, 1 - counted / float((apart[:, -1] ** 2).mean()))
        self._levels = predicted[:, -1]
        self._real, self._chance = real * apart, seen - predicted - real * apart
        dice = random.Random(0)
        draws = [
            {name: decode(each, at_unit(distribution_of(each), dice.random())) for name, each in self.space.items()}
            for _ in range(_NUM_TRIED)
        ]
        points = np.array([self._row(recorded.point(draw)) for draw in draws])
        self.best = float(forest.predict(points).max())

    def _row(self, point: Mapping[str, float | str]) -> list[float]:
        """Numbers for the forest: choices as 0 and 1; the learning rate also for each optimizer."""
        row: list[float] = []
        for name, value in point.items():
            row += [float(value == each) for each in self._named[name]] if name in self._named else [float(value)]
        return row + [float(point["lr"]) * (point["optimizer"] == each) for each in self._named.get("optimizer", [])]

    def curve_of(self, params: Mapping[str, Scalar]) -> Any:
        curve = self._trees.predict(np.array(self._row(self._recorded.point(params))))
        return curve, json.dumps(dict(params), sort_keys=True, default=str)

    def observed(self, handle: Any, epoch: int, seed: int) -> float:
        curve, key = handle
        lender = self._lender(curve, key, seed)
        return float(np.clip(curve + self._real[lender] + self._chance[lender], 0, 1)[epoch - 1])

    def truth(self, handle: Any, epoch: int, seed: int) -> float:
        curve, key = handle
        return float(np.clip(curve + self._real[self._lender(curve, key, seed)], 0, 1)[epoch - 1])

    def _lender(self, curve: Array, key: str, seed: int) -> int:
        """The recorded trial whose deviation a run's trial gets."""
        alike = np.argsort(np.abs(self._levels - curve[-1]), kind="stable")[: max(1, round(_ALIKE * len(self._levels)))]
        return int(random.Random(f"{seed}/{key}").choice(list(alike)))
