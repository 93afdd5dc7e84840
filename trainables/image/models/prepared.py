"""Records which weight file each configuration of a sweep starts from; every trial checks it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.digests import from_sealed_json, to_sealed_json
from trainables.errors import WeightsError
from trainables.image.config import ImageConfig
from trainables.image.models.weights import digest_of

_FILE = "weights.json"


@dataclass(frozen=True)
class WeightsFile:
    """The weights of a model.

    Attributes:
        model: as the configuration names it.
        pretrained: as the configuration has it: a path as written, or true for the published weights.
        path: of the file, absolute.
        digest: of the file's content.
    """

    model: str
    pretrained: bool | str
    path: str
    digest: str

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"weights of {self.model}" + (f" ({self.pretrained})" if isinstance(self.pretrained, str) else "")


def write_weights(folder: Path, files: Sequence[WeightsFile]) -> None:
    """Notes them for the trials. In one step: the note of an earlier run stays whole under its other names."""
    partial = folder / f".{_FILE}.partial"
    with partial.open("wb") as file:
        file.write(to_sealed_json({"weights": [dataclasses.asdict(each) for each in files]}) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / _FILE)


def weights_paths(folder: Path) -> list[Path]:
    """The files that were noted."""
    files, earlier = _read(folder)
    return list(dict.fromkeys([*(Path(each.path) for each in files), *map(Path, earlier.values())]))


def weights_of(folder: Path, config: ImageConfig) -> Path | None:
    """The weight file that a configuration starts from, as it was when the sweep was prepared.

    Args:
        folder: where `write_weights` left its note.
        config: of a trial.

    Returns:
        None when it starts from random weights.

    Raises:
        WeightsError: the file is gone, or is another one by now.
    """
    from trainables.image.models.factory import find_weights

    if not config.wants_weights:
        return None
    files, earlier = _read(folder)
    for each in files:
        if (each.model, each.pretrained) == (config.model, config.pretrained):
            return _checked(each)
    if config.weights_path in earlier:
        config = config.model_copy(update={"pretrained": earlier[config.weights_path]})
    return find_weights(config)


def weights_digest(folder: Path, config: ImageConfig) -> str | None:
    """Which weights a configuration starts from: the digest that was noted; None without any."""
    files, earlier = _read(folder)
    noted = (each.digest for each in files if (each.model, each.pretrained) == (config.model, config.pretrained))
    return next(noted, None) or earlier.get(config.weights_path or "")


def _checked(file: WeightsFile) -> Path:
    path = Path(file.path)
    if not path.is_file():
        raise WeightsError(f"{path}: the {file.label} are missing since the sweep was prepared: restore them")
    if digest_of(path) != file.digest:
        raise WeightsError(
            f"{path}: not the {file.label} that the sweep was prepared with: restore those, or start a new sweep"
        )
    return path


def _read(folder: Path) -> tuple[list[WeightsFile], dict[str, str]]:
    """The files that were noted; and, of a version that kept one path for all models, path by path as written.

    Raises:
        WeightsError: the note was damaged.
    """
    path = folder / _FILE
    try:
        noted: dict[str, Any] = from_sealed_json(path.read_bytes())
        files = noted.pop("weights", [])
        return [WeightsFile(**each) for each in files], {name: str(value) for name, value in noted.items()}
    except FileNotFoundError:
        return [], {}
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: damaged ({error}); `sweep resume` rewrites it") from error
