"""All models by name, with what is known of each, for people who choose what to search over.

Known are three kinds of things: what timm says of each of its models (importing it takes seconds), what the table of
known models says, and what the survey of models measured (`python -m benchmarks.models`). What nobody measured is None.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trainables.image.models.survey import has_features, has_onnx, survey
from trainables.image.models.table import ALIASES, MODELS, OWN_NETS, TORCHVISION_NETS

_LIMIT = re.compile(r"(?P<number>\d+(\.\d+)?)\s*((?P<time>ms)|(?P<scale>[kmgb]?)\s*param(eter)?s)", flags=re.IGNORECASE)
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}

Weights = Literal["at hand", "published", "none"]


@dataclass(frozen=True)
class Entry:
    """A model.

    Attributes:
        name: as a sweep file has it.
        family: timm's module, `torchvision` or `own`.
        parameters: of the whole model; None where neither table has it.
        resolution: that it was published for, in pixels.
        smallest_resolution: that it can be trained on, in pixels.
        poolings: that it has.
        weights: whether published ones are on this machine, can be fetched, or are not there.
        resizable: whether published weights fit other resolutions.
        num_blocks: that `last_n` and `layer_lr_decay` tell apart, the head included.
        stored_features: whether head-only trials can share stored features.
        onnx: whether it has an ONNX translation.
        image_ms: CPU time of one image at `resolution` on one thread, in milliseconds, in PyTorch.
        step_s: CPU seconds of a training step on four images at `resolution`.
        step_mib: memory that this step took, in MiB.
        verdict: of the survey: right, refused or failed; why, in `reason`. None: not surveyed.
        reason: see verdict.
    """

    name: str
    family: str
    parameters: int | None
    resolution: int
    smallest_resolution: int | None
    poolings: tuple[str, ...] | None
    weights: Weights
    resizable: bool | None
    num_blocks: int | None
    stored_features: bool | None
    onnx: bool | None
    image_ms: float | None
    step_s: float | None
    step_mib: int | None
    verdict: str | None
    reason: str


def find_models(pattern: str = "*") -> list[Entry]:
    """The models that a pattern fits, by name.

    Args:
        pattern: as in a shell (`vit_*`); without `*`, `?` or `[` any name that contains it.
    """
    import timm

    from trainables.image.models import nets, torchvision_nets  # noqa: F401 - they register their nets with timm

    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = fnmatch.filter(timm.list_models(), wanted.lower())
    return [_entry(name) for name in sorted({*names, *(ALIASES[a] for a in fnmatch.filter(ALIASES, wanted))})]


def _entry(name: str) -> Entry:
    from timm.models import get_pretrained_cfg
    from timm.models._registry import _model_to_module

    from trainables.image.models.tryout import usual_resolution
    from trainables.image.models.weights import at_hand

    row, facts = survey().get(name, {}), MODELS.get(name)
    own = "own" if name in OWN_NETS else "torchvision" if name in TORCHVISION_NETS else None
    source = get_pretrained_cfg(name)
    published = bool(source is not None and source.has_weights)
    poolings = (row["poolings"].split() if row.get("poolings") else None) or (facts and facts.poolings)
    return Entry(
        name=name,
        family=own or _model_to_module[name],
        parameters=facts.parameters if facts else _whole(row.get("parameters")),
        resolution=usual_resolution(name),
        smallest_resolution=facts.min_resolution if facts else _whole(row.get("smallest_resolution")),
        poolings=tuple(poolings) if poolings else None,
        weights=("at hand" if at_hand(True, name) else "published") if published else "none",
        resizable=_yes(row.get("resizable")),
        num_blocks=facts.num_blocks if facts else _whole(row.get("num_blocks")),
        stored_features=has_features(name),
        onnx=True if own else has_onnx(name),
        image_ms=_number(row.get("image_ms")),
        step_s=_number(row.get("step_s")),
        step_mib=_whole(row.get("step_mib")),
        verdict=row.get("outcome") or None,
        reason=row.get("reason", ""),
    )


def limits(fits: str) -> dict[str, float]:
    """What `5M params, 20 ms` asks for: the most of `parameters` and of `image_ms`.

    Raises:
        ValueError: a part is neither.
    """
    return dict(_limits(fits))


def _limits(fits: str) -> Iterator[tuple[str, float]]:
    for part in filter(None, (part.strip() for part in fits.split(","))):
        found = _LIMIT.fullmatch(part)
        if found is None or float(found["number"]) <= 0.0:
            raise ValueError(f"{part!r} is no limit: write such as '5M params', '20 ms' or '5M params, 20 ms'")
        if found["time"]:
            yield "image_ms", float(found["number"])
        else:
            yield "parameters", float(found["number"]) * _SCALES[(found["scale"] or "").lower()]


def _whole(text: str | None) -> int | None:
    return int(text) if text else None


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _yes(text: str | None) -> bool | None:
    return text == "1" if text else None
