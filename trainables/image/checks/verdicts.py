"""Remembers on disk what trying a model showed, so that a model is tried once and not at each check.

The functions here are asked by the check. They import torch and timm only when there is something to try. What they
remember holds for the versions of these libraries and for the very code that tries; with others it is tried anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from trainables.image.caches import cache_folder
from trainables.telling import tell

_LIBRARIES = ("torch", "timm", "torchvision")
_P = ParamSpec("_P")
_T = TypeVar("_T")  # plain JSON


def remembered(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Gives what was found before, by the function's name and its arguments; these and the result are plain JSON."""

    @wraps(function)
    def found(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        memory = _memory()
        key = json.dumps([function.__name__, args, kwargs], sort_keys=True)
        if key not in memory.found:
            tell(f"trying {args[0]}")
            memory.add(key, function(*args, **kwargs))
        return cast(_T, memory.found[key])

    return found


@remembered
def is_model(name: str) -> bool:
    """Whether timm has a model of this name, without a tag."""
    import timm

    return bool(timm.is_model(name))


@remembered
def tags_of(name: str) -> list[str]:
    """The tags of a model's published weights."""
    import timm

    return [full.partition(".")[2] for full in timm.list_models(f"{name}.*", include_tags=True)]


@remembered
def is_published(name: str) -> bool:
    """Whether somebody has published weights for a model."""
    from timm.models import get_pretrained_cfg

    source = get_pretrained_cfg(name)
    return bool(source is not None and source.has_weights)


@remembered
def usual_resolution(name: str) -> int:
    """The resolution that a model was published for, in pixels."""
    from trainables.image.models import tryout

    return tryout.usual_resolution(name)


@remembered
def impossible(name: str, pooling: str, resolution: int, channels: int = 3) -> str | None:
    """Why a model cannot be trained so, tried without memory; None if it can."""
    from trainables.image.models import tryout

    return tryout.impossible(name, pooling, resolution, channels)


@remembered
def has_effect(name: str, key: str, resolution: int) -> bool:
    """Whether a rate of `dropout` or `drop_path` changes what a model does in training."""
    from trainables.image.models import tryout

    return tryout.has_effect(name, key, resolution)


@remembered
def has_nothing_to_pool(name: str, resolution: int, channels: int = 3) -> bool:
    """Whether a model's last map is of one pixel, so that kinds of pooling are all the same."""
    from trainables.image.models import tryout

    return tryout.has_nothing_to_pool(name, resolution, channels)


@remembered
def num_blocks(name: str, resolution: int) -> int:
    """How many blocks a model has, its head included."""
    from trainables.image.models import tryout

    return tryout.num_blocks(name, resolution)


@remembered
def weights_problem(name: str, pooling: str, resolution: int, channels: int = 3) -> str | None:
    """Why a model's published weights cannot be its start in this shape, None if they can."""
    from trainables.image.models import tryout

    return tryout.weights_problem(name, pooling, resolution, channels)


@remembered
def image_bytes(name: str, pooling: str, resolution: int, channels: int = 3) -> int:
    """How much a training step keeps of each image for its backward pass."""
    from trainables.image.models import tryout

    return tryout.image_bytes(name, pooling, resolution, channels)


@remembered
def untrainable(name: str, pooling: str, resolution: int, channels: int = 3) -> str | None:
    """Why a step, a checkpoint or its loading fails, tried on two images in a process of its own; None if none does."""
    from trainables.image.checks.rehearsal import rehearse

    return rehearse(name, pooling, resolution, channels)


@remembered
def translates(name: str) -> bool | str | None:
    """Whether a model has an ONNX translation, tried in a process of its own; if not, why not; None: it took too long.

    It depends on what a model consists of, and not on its input.
    """
    from trainables.image.checks.rehearsal import translate

    tell(f"translating {name} into ONNX")
    return translate(name, usual_resolution(name))


class _Memory:
    """A file of lines, one verdict each; a line that is not whole counts for nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found = dict(self._read())

    def add(self, key: str, value: object) -> None:
        self.found[key] = value
        line = "\n" + json.dumps([key, value]) + "\n"  # on a line of its own, whatever a kill has left before it
        # Of a cache that cannot be written to nothing is lost but time: its owner is told where pixels are cached.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)

    def _read(self) -> Iterator[tuple[str, object]]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        for line in lines:
            with contextlib.suppress(ValueError):
                key, value = json.loads(line)
                yield key, value


def _memory() -> _Memory:
    return _open(cache_folder())


@lru_cache(maxsize=4)
def _open(folder: Path) -> _Memory:
    return _Memory(folder / "model-checks" / f"{_versions()}.jsonl")


@lru_cache(maxsize=1)
def _versions() -> str:
    """A digest of what a verdict depends on: the libraries, the kind of processor, and the code that tries."""
    digest = hashlib.sha256(platform.machine().encode())
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    here = Path(__file__).parent
    for folder in (here.with_name("models"), here):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
