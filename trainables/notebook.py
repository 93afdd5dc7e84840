"""Trainables that are defined in a notebook or a script, and how they reach the processes that train.

A sweep file names a trainable by its module, which other processes import. What a notebook defines has none. It travels
pickled by value, in a folder of the session that only its user can read, and is named `notebook:NAME`. Nothing is
unpickled from results: a sweep of such a trainable goes on from the notebook that has it, and from nowhere else.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from trainables.contract import EpochReport, NoData, Trainable, TrialHandle
from trainables.errors import TrainableError

PREFIX = "notebook:"
FOLDER = "SWEEP_NOTEBOOK_TRAINABLES"
"""The environment variable that names the folder of the session's pickles."""
_SUFFIX = ".pickle"
_HANDLE = "handle"

_held: dict[str, Any] = {}
"""What this process was given, by name."""


def hold(found: Callable[..., Any]) -> str:
    """Takes a trainable of this session, and returns the name that stands for it.

    Args:
        found: a subclass of `Trainable`, or a function (see `of_function`).

    Raises:
        TrainableError: it is neither.
    """
    if inspect.isclass(found) and not issubclass(found, Trainable):
        raise TrainableError(
            f"trainable: the class {found.__name__} is not a subclass of trainables.contract.Trainable"
        )
    if not inspect.isclass(found):
        of_function(found)  # says what is wrong with it
    name = f"{PREFIX}{found.__name__}"
    _held[name] = found
    return name


def write_pickle(name: str, folder: Path) -> None:
    """Writes what a name stands for into a folder, for the processes that train.

    Raises:
        TrainableError: it holds something that cannot be pickled.
    """
    import cloudpickle

    try:
        content = cloudpickle.dumps(_held[name])
    except Exception as error:  # whatever the objects that it refers to raise
        raise TrainableError(
            f"{name} cannot be given to the processes that train: {error}. It may use modules, functions, classes and "
            "plain values of the notebook, but no open file, connection or lock"
        ) from error
    (folder / f"{name.removeprefix(PREFIX)}{_SUFFIX}").write_bytes(content)


def load(name: str) -> type[Trainable[Any, Any]]:
    """The class that a name stands for, in the notebook or in a process of its session.

    Raises:
        LookupError: this process belongs to no session that holds it.
    """
    found = _held.get(name)
    if found is None:
        folder = os.environ.get(FOLDER)
        path = Path(folder) / f"{name.removeprefix(PREFIX)}{_SUFFIX}" if folder else None
        if path is None or not path.is_file():
            raise LookupError(name)
        import cloudpickle

        found = _held[name] = cloudpickle.loads(path.read_bytes())
    return cast("type[Trainable[Any, Any]]", found) if inspect.isclass(found) else of_function(found)


def of_function(function: Callable[..., Any]) -> type[Trainable[Any, Any]]:
    """A trainable whose hyperparameters are a function's arguments.

    Args:
        function: `def train(lr: float = 0.1, epochs: int = 5)` that yields a mapping of metrics after each epoch; or,
            with an argument `handle` (a `TrialHandle`), one that reports by itself and may save checkpoints.

    Raises:
        TrainableError: it is not a function, or an argument cannot be a hyperparameter.
    """
    if not inspect.isfunction(function):
        raise TrainableError(f"trainable: {function!r:.60} is neither a function nor a class")
    called = f"trainable {function.__name__}"
    parameters = inspect.signature(function).parameters
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise TrainableError(f"{called}: {error}") from error
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name == _HANDLE:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TrainableError(f"{called}: {parameter} is not a hyperparameter: name each, such as lr: float = 0.1")
        default = ... if parameter.default is parameter.empty else parameter.default
        known = float if isinstance(default, float) else type(default) if default not in (..., None) else Any
        fields[name] = (hints.get(name, known), default)
    if not inspect.isgeneratorfunction(function) and _HANDLE not in parameters:
        raise TrainableError(
            f"{called}: it can report nothing: yield a mapping of metrics after each epoch, or take an argument handle"
        )
    config = create_model(function.__name__, __config__=ConfigDict(frozen=True, extra="forbid"), **fields)

    class OfFunction(Trainable[BaseModel, NoData]):
        config_class: ClassVar[type[BaseModel]] = config
        data_class: ClassVar[type[BaseModel]] = NoData

        def train(self, config: BaseModel, handle: TrialHandle) -> None:
            values: dict[str, Any] = {name: getattr(config, name) for name in fields}
            if _HANDLE in parameters:
                values[_HANDLE] = handle
            told = function(**values)
            if inspect.isgenerator(told):
                _report_all(cast("Iterator[Mapping[str, float]]", told), handle)

    OfFunction.__doc__ = function.__doc__
    OfFunction.__name__ = OfFunction.__qualname__ = function.__name__
    return OfFunction


def _report_all(told: Iterator[Mapping[str, float]], handle: TrialHandle) -> None:
    for epoch, metrics in enumerate(told, start=1):
        handle.report(EpochReport(epoch, dict(metrics)))
