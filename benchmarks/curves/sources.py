"""Where curves come from: the generated family, or what the runner recorded. One interface for both."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.curves import family
from sweep_runner.search.distributions import Params
from sweep_runner.spec.space import Choice, FloatRange, Parameter, Scalar

DATA = Path(__file__).parent / "data"


class Curves(ABC):
    """Learning curves over a space.

    Attributes:
        name: of the set.
        space: the search space.
        epochs: of a full training.
        usual: configurations that a practitioner knows, best-known first: one per network.
        misleading: a bad prior; none where nobody made one up.
        best: what counts as regret 0.
        best_seen: the best value that a search could see; None where the noise is drawn anew in each run.
    """

    name: str
    space: Mapping[str, Parameter]
    epochs: int
    usual: Sequence[Params]
    misleading: Sequence[Params] = ()
    best: float
    best_seen: float | None = None

    def start(self, seed: int) -> Replay:
        """One run of a search engine on these curves."""
        return Replay(self, seed)

    @abstractmethod
    def curve_of(self, params: Mapping[str, Scalar]) -> Any:
        """A handle for the curve of a configuration."""

    @abstractmethod
    def observed(self, handle: Any, epoch: int, seed: int) -> float:
        """What a search sees."""

    @abstractmethod
    def truth(self, handle: Any, epoch: int, seed: int) -> float:
        """What the model is worth."""


class Replay:
    """One run of a search on curves."""

    def __init__(self, curves: Curves, seed: int) -> None:
        self._curves = curves
        self._seed = seed
        self._handles: dict[int, Any] = {}

    def observed(self, trial: int, params: Mapping[str, Scalar], epoch: int) -> float:
        if trial not in self._handles:
            self._handles[trial] = self._curves.curve_of(params)
        return self._curves.observed(self._handles[trial], epoch, self._seed)

    def truth(self, trial: int, epoch: int) -> float:
        return self._curves.truth(self._handles[trial], epoch, self._seed)


class Generated(Curves):
    """A task of the generated family."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.space = family.SPACE
        self.epochs = family.LAST
        others = [model for model in family.MODELS if model != family.USUAL["model"]]
        self.usual = [{**family.USUAL, "model": model} for model in (str(family.USUAL["model"]), *others)]
        self.misleading = [family.MISLEADING, *({**family.MISLEADING, "model": model} for model in family.MODELS[1:])]
        self.best = family.best(name)

    def curve_of(self, params: Mapping[str, Scalar]) -> Any:
        return dict(params)

    def observed(self, handle: Any, epoch: int, seed: int) -> float:
        return family.observed(self.name, handle, epoch, seed)

    def truth(self, handle: Any, epoch: int, seed: int) -> float:
        return family.truth(self.name, handle, epoch, seed)


class Recorded(Curves):
    """What `record` left: a proposal has the curve of the nearest recorded configuration, as often as it is asked for.

    (Giving each curve once would send a search that knows where it wants to be to ever worse places.) Nearest: equal in
    as many choices of network and optimizer as can be, then by distance over the other parameters, each scaled to its
    range: half a decade of learning rate is as far as the whole range of another parameter.
    """

    def __init__(self, name: str, folder: Path = DATA) -> None:
        import pyarrow.parquet as pq

        table = pq.read_table(folder / f"{name}.parquet")
        rows = table.to_pylist()
        self.name = name
        self.space = {
            key: parameter for key, parameter in _SPACES[name.partition("-")[2]].items() if key in table.column_names
        }
        self.space = {key: _with_values(parameter, {row[key] for row in rows}) for key, parameter in self.space.items()}
        self.epochs = max(row["epoch"] for row in rows)
        curves: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in sorted(rows, key=lambda row: row["epoch"]):
            curves.setdefault((row["part"], row["trial"]), []).append(row)
        self._curves = [curve for curve in curves.values() if len(curve) == self.epochs]
        self._params = [{key: curve[0][key] for key in self.space} for curve in self._curves]
        self.points = [self.point(params) for params in self._params]
        self.best = max(row["unseen_accuracy"] for curve in self._curves for row in curve)
        self.best_seen = max(row["val_accuracy"] for curve in self._curves for row in curve)
        self.usual = [
            {"model": model, **usual} for model in self._values("model") for usual in [_USUAL[name.partition("-")[2]]]
        ]
        self.usual = [{key: self._near(key, params) for key in self.space} for params in self.usual]

    def __len__(self) -> int:
        return len(self._curves)

    def accuracies(self, column: str) -> npt.NDArray[np.float64]:
        """A column of the recording, (trials, epochs)."""
        return np.array([[row[column] for row in curve] for curve in self._curves], dtype=np.float64)

    def _values(self, key: str) -> Sequence[Scalar]:
        parameter = self.space[key]
        assert isinstance(parameter, Choice)
        return parameter.values

    def _near(self, key: str, params: Mapping[str, Any]) -> Scalar:
        parameter, value = self.space[key], params[key]
        if isinstance(parameter, Choice) and isinstance(value, int | float):
            return min(parameter.values, key=lambda one: abs(float(one) - value))  # type: ignore[arg-type]
        return value  # type: ignore[no-any-return]

    def point(self, params: Mapping[str, Any]) -> dict[str, float | str]:
        """A configuration, each number scaled to 0 to 1."""
        point: dict[str, float | str] = {}
        for key, parameter in self.space.items():
            value = params[key]
            if isinstance(parameter, FloatRange):
                low, high = parameter.low, parameter.high
                unit = math.log(value / low) / math.log(high / low) if parameter.log else (value - low) / (high - low)
                point[key] = unit
            elif isinstance(value, str):
                point[key] = value
            else:
                values = sorted(self._values(key))  # type: ignore[type-var]
                point[key] = values.index(value) / max(1, len(values) - 1)
        return point

    def curve_of(self, params: Mapping[str, Scalar]) -> Any:
        asked = self.point(params)

        def distance(index: int) -> float:
            total = 0.0
            for key, value in asked.items():
                other = self.points[index][key]
                if isinstance(value, str) or isinstance(other, str):
                    total += (value != other) * (100.0 if key in ("model", "optimizer") else 0.25)
                else:
                    total += (100.0 if key == "lr" else 1.0) * (value - other) ** 2
            return total

        return min(range(len(self._curves)), key=distance)

    def observed(self, handle: Any, epoch: int, seed: int) -> float:
        return float(self._curves[handle][epoch - 1]["val_accuracy"])

    def truth(self, handle: Any, epoch: int, seed: int) -> float:
        return float(self._curves[handle][epoch - 1]["unseen_accuracy"])


def _with_values(parameter: Parameter, values: set[Any]) -> Parameter:
    return Choice(values=tuple(sorted(values))) if isinstance(parameter, Choice) else parameter


_COMMON: Mapping[str, Parameter] = {
    "model": Choice(values=("",)),
    "input_resolution": Choice(values=(0,)),
    "optimizer": Choice(values=("",)),
    "lr": FloatRange(low=1e-5, high=1.0, log=True),
    "batch_size": Choice(values=(0,)),
    "weight_decay": FloatRange(low=1e-6, high=1e-1, log=True),
    "label_smoothing": FloatRange(low=0.0, high=0.3),
    "schedule": Choice(values=("",)),
}
_SPACES = {"head": _COMMON, "scratch": _COMMON, "full": _COMMON}
_ALIKE: Mapping[str, Scalar] = {
    "optimizer": "adamw",
    "batch_size": 32,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "schedule": "cosine",
    "input_resolution": 1024,  # the largest of the space
}
_USUAL: Mapping[str, Mapping[str, Scalar]] = {
    "head": {**_ALIKE, "lr": 1e-3},
    "scratch": {**_ALIKE, "lr": 1e-3},
    "full": {**_ALIKE, "lr": 3e-4},
}


NUM_UNSEEN: Mapping[str, int] = {"flowers-head": 180, "flowers-full": 180, "cifar-scratch": 750}
"""Pictures that the accuracy on unseen ones was counted on, by set."""


def curves_of(names: Collection[str] = (), folder: Path = DATA) -> Iterator[Curves]:
    """The sets of these names; without any, every set at hand, the generated ones first."""
    from benchmarks.curves.regressed import REGRESSED, Regressed

    def wanted(name: str) -> bool:
        return not names or name in names

    yield from (Generated(name) for name in family.TASKS if wanted(name))
    recorded = [path.stem for path in sorted(folder.glob("*.parquet"))]
    yield from (Recorded(name, folder) for name in recorded if wanted(name))
    yield from (
        Regressed(Recorded(name, folder), NUM_UNSEEN[name])
        for name in recorded
        if name in NUM_UNSEEN and wanted(name + REGRESSED)
    )
