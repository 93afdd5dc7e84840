"""Loads a trainable's class by its name in the sweep file."""

from __future__ import annotations

import difflib
import importlib
import inspect
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from trainables import notebook
from trainables.contract import Trainable
from trainables.errors import TrainableError
from trainables.own_modules import find_own_modules

BUILT_IN: Mapping[str, str] = {
    "image_classifier": "trainables.image.trainable:ImageClassifier",
    "synthetic": "trainables.synthetic:Synthetic",
}


class NoSuchTrainable(TrainableError):
    """The name leads to no usable trainable. The message names the half of it that fails.

    Attributes:
        hint: what to do about it; empty when there is nothing to say.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def load_trainable(name: str) -> type[Trainable[Any, Any]]:
    """The class that a built-in name or `package.module:attribute` stands for.

    A user's own module is looked for in the current directory, after the installed ones.

    Raises:
        NoSuchTrainable: no such name, module or attribute; the module raised while it was imported; or
            what is there is not a complete `Trainable`.
    """
    if name.startswith(notebook.PREFIX):
        return _checked(_of_notebook(name), name)
    target = BUILT_IN.get(name, name)
    module_name, colon, attribute = target.partition(":")
    if not colon:
        near = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f"Did you mean {near[0]}?" if near else ""
        built_in = ", ".join(BUILT_IN)
        raise NoSuchTrainable(f"{name!r} is neither built in ({built_in}) nor package.module:attribute", hint)
    if name not in BUILT_IN:
        find_own_modules()
    found: Any = _module(module_name, name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [item for item in dir(found) if not item.startswith("_")], n=1)
            origin = getattr(found, "__file__", None) or getattr(found, "__name__", module_name)
            raise NoSuchTrainable(
                f"{name!r}: there is a module {module_name}, but no {attribute!r} in it ({origin})",
                f"Did you mean {module_name}:{near[0]}?" if near else "",
            )
        found = getattr(found, part)
    return _checked(found, name)


def _of_notebook(name: str) -> Any:
    try:
        return notebook.load(name)
    except LookupError:
        short = name.removeprefix(notebook.PREFIX)
        raise NoSuchTrainable(
            f"{name!r} is a trainable that a notebook held, and this process has none of that name",
            f"Go on from the notebook that defines it: run_sweep(..., trainable={short}, resume=True). "
            "To use it in commands, put it into a module and name it package.module:attribute.",
        ) from None


def _module(module_name: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != module_name and not module_name.startswith(f"{missing}."):
            raise NoSuchTrainable(*_raised(error, module_name, name)) from error
        raise NoSuchTrainable(
            f"{name!r}: there is no module {missing!r}",
            f"It is looked for in the installed packages, and in {Path.cwd()}.",
        ) from None
    except (ValueError, TypeError) as error:
        if not all(part.isidentifier() for part in module_name.split(".")):
            raise NoSuchTrainable(f"{name!r}: {module_name!r} is not a module's name") from None
        raise NoSuchTrainable(*_raised(error, module_name, name)) from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything: it is told
        raise NoSuchTrainable(*_raised(error, module_name, name)) from error


def _raised(error: BaseException, module_name: str, name: str) -> tuple[str, str]:
    """Message and hint for a module that failed while it was imported: what it raised, and in which line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else ""
    if isinstance(error, SyntaxError):
        place = f" at {error.filename}:{error.lineno}"
    text = str(error).splitlines()[0] if str(error) else ""
    message = f"{name!r}: importing {module_name} raised {type(error).__name__}: {text}{place}"
    return message, f"Try: python -c 'import {module_name}'"


def _checked(found: Any, name: str) -> type[Trainable[Any, Any]]:
    if not (inspect.isclass(found) and issubclass(found, Trainable)):
        kind = "a class, but not a subclass of trainables.contract.Trainable"
        raise NoSuchTrainable(f"{name!r} is {kind if inspect.isclass(found) else f'no class but {found!r:.60}'}")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise NoSuchTrainable(f"{name!r} does not implement {', '.join(missing)}")
    for attribute in ("config_class", "data_class"):
        value = getattr(found, attribute, None)
        if not (inspect.isclass(value) and issubclass(value, BaseModel)):
            raise NoSuchTrainable(f"{name!r}: {attribute} must be a pydantic model, and is {value!r:.60}")
    return found
