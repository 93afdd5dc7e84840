"""Makes one checkpoint of several. Needs the trainable (and torch): runs where final evaluations run."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from trainables.checkpoints import checkpoint_of_epoch, write_checkpoint
from trainables.combining import Combines, Member
from trainables.contract import EpochReport, Mode, Trainable
from trainables.errors import TrainableError

Kind = Literal["soup", "ensemble"]
MADE_FILE = "made.json"
"""In a checkpoint that was made: of which others, and how."""


@dataclass(frozen=True)
class Recipe:
    """What is to be made of what.

    Attributes:
        kind: how.
        members: `trial`, `epoch`, `seed`, `config` (before the trainable's defaults) and `checkpoint` of each; the one
            that it is to be better than comes first, then the best.
        folder: where it is made, and stays.
        metric: by which a soup takes its members.
        mode: which way is better.
    """

    kind: Kind
    members: Sequence[Mapping[str, Any]]
    folder: str
    metric: str
    mode: Mode


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        checkpoint: its folder; None: nothing came of it.
        config: with which `evaluate` and `export` take it.
        members: those that it is made of, as `trial:epoch`, the first one first.
        left_out: trials that could not take part, and why.
        why: how it was made, or why nothing came of it, in words.
    """

    checkpoint: Path | None
    config: BaseModel
    members: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """What the driver is told."""
        return {"members": list(self.members), "left_out": dict(self.left_out), "why": self.why}


def make(trainable: Trainable[Any, Any], recipe: Recipe, num_threads: int) -> Made:
    """Makes a checkpoint, or finds it where a process that was killed has left it whole.

    Raises:
        TrainableError: it cannot be made.
        OSError: it could not be written (disk full, ...); nothing of it is left.
    """
    assert isinstance(trainable, Combines), "the check of the sweep file has seen to it"
    if not recipe.members:
        raise TrainableError("every kept checkpoint is damaged")
    folder = Path(recipe.folder)
    asked = [_label(each) for each in recipe.members]
    members = [_member(trainable, each) for each in recipe.members]
    labels = {each["trial"]: _label(each) for each in recipe.members}
    if (before := _made_before(trainable, folder, recipe, asked)) is not None:
        return before
    shutil.rmtree(folder, ignore_errors=True)
    made, build = (
        _soup(trainable, members, labels, recipe, num_threads)
        if recipe.kind == "soup"
        else _ensemble(trainable, members, labels)
    )
    if build is None:
        return made
    told = {"asked": asked, "kind": recipe.kind, **made.to_json(), "config": made.config.model_dump(mode="json")}

    def save(target: Path) -> None:
        build(target)
        (target / MADE_FILE).write_text(json.dumps(told), encoding="utf-8")

    checkpoint = write_checkpoint(folder / "attempt-1", [EpochReport(1, {})], save)
    return Made(checkpoint.folder, made.config, made.members, made.left_out, made.why)


def made_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint that was made in a folder; None without one."""
    found = checkpoint_of_epoch(folder, 1)
    return found.folder if found is not None else None


def made_config(checkpoint: Path) -> dict[str, Any]:
    """With which config a checkpoint that was made is evaluated and exported."""
    config: dict[str, Any] = json.loads((checkpoint / MADE_FILE).read_bytes())["config"]
    return config


def mates(trainable: Combines[Any], members: Sequence[Member[Any]]) -> tuple[list[Member[Any]], dict[str, str]]:
    """Those whose weights can be averaged with the first one's; of the others why not, by trial."""
    first = members[0]
    layers, start = trainable.layers(first.config), trainable.start(first.config, first.seed)
    fitting, left_out = [first], {}
    for member in members[1:]:
        if (other := trainable.layers(member.config)) != layers:
            left_out[str(member.trial)] = f"another network or other pixels: {other}; trial {first.trial} has {layers}"
        elif (other := trainable.start(member.config, member.seed)) != start:
            left_out[str(member.trial)] = f"another start: {other}; trial {first.trial} has {start}"
        else:
            fitting.append(member)
    return fitting, left_out


def _member(trainable: Trainable[Any, Any], values: Mapping[str, Any]) -> Member[Any]:
    config = trainable.config_class.model_validate(dict(values["config"]))
    return Member(values["trial"], values["seed"], config, Path(values["checkpoint"]))


def _label(values: Mapping[str, Any]) -> str:
    return f"{values['trial']}:{values['epoch']}"


def _made_before(trainable: Trainable[Any, Any], folder: Path, recipe: Recipe, asked: list[str]) -> Made | None:
    checkpoint = made_checkpoint(folder)
    if checkpoint is None:
        return None
    told = json.loads((checkpoint / MADE_FILE).read_bytes())
    if told["asked"] != asked or told["kind"] != recipe.kind:
        return None
    config = trainable.config_class.model_validate(told["config"])
    return Made(checkpoint, config, tuple(told["members"]), told["left_out"], told["why"])


def _soup(
    trainable: Any, members: Sequence[Member[Any]], labels: Mapping[int, str], recipe: Recipe, num_threads: int
) -> tuple[Made, Any]:
    """A greedy soup (Wortsman et al. 2022): each further checkpoint, the best first, stays where it makes it no worse.

    Returns:
        What it comes to, and what writes it into a folder; None: the first checkpoint alone is left.
    """
    fitting, left_out = mates(trainable, members)
    first = fitting[0]
    alone = Made(None, first.config, (labels[first.trial],), left_out)
    if len(fitting) < 2:
        why = f"no other kept checkpoint can be averaged with that of trial {first.trial}"
        return Made(None, first.config, alone.members, left_out, why), None
    sign = 1.0 if recipe.mode == "max" else -1.0

    def value(checkpoint: Path) -> float:
        evaluation = trainable.evaluate(first.config, checkpoint, "val", num_threads)
        if evaluation is None or recipe.metric not in evaluation.metrics:
            raise TrainableError(f"the evaluation on val tells no {recipe.metric}, by which a soup takes checkpoints")
        return sign * float(evaluation.metrics[recipe.metric])

    chosen, best = [first], value(first.checkpoint)
    for member in fitting[1:]:
        with tempfile.TemporaryDirectory(prefix="soup-", dir=_room(recipe)) as tried:
            trainable.average([*chosen, member], Path(tried), num_threads)
            reached = value(Path(tried))
        if reached >= best:
            chosen, best = [*chosen, member], reached
    tried_in_words = (
        f"{len(fitting) - 1} other checkpoint{'s' if len(fitting) > 2 else ''} of the same network and start"
    )
    if len(chosen) < 2:
        why = f"none of {tried_in_words} makes trial {first.trial} better on val when averaged with it"
        return Made(None, first.config, alone.members, left_out, why), None
    why = f"greedy soup: {len(chosen) - 1} of {tried_in_words} stayed"
    made = Made(None, first.config, tuple(labels[each.trial] for each in chosen), left_out, why)
    return made, partial(_average, trainable, chosen, num_threads)


def _ensemble(trainable: Any, members: Sequence[Member[Any]], labels: Mapping[int, str]) -> tuple[Made, Any]:
    """Models that answer together. Returns as `_soup`."""
    first, left_out = members[0], {}
    fitting = [first]
    for member in members[1:]:
        if (other := trainable.sees(member.config)) != trainable.sees(first.config):
            left_out[str(member.trial)] = f"{other}; trial {first.trial} has {trainable.sees(first.config)}"
        else:
            fitting.append(member)
    taken = tuple(labels[each.trial] for each in fitting)
    if len(fitting) < 2:
        why = f"no other kept checkpoint can answer together with that of trial {first.trial}"
        return Made(None, first.config, taken, left_out, why), None
    made = Made(None, trainable.joined_config(fitting), taken, left_out, f"ensemble of {len(fitting)} models")
    return made, partial(trainable.join, fitting)


def _average(trainable: Any, chosen: Sequence[Member[Any]], num_threads: int, folder: Path) -> None:
    trainable.average(chosen, folder, num_threads)


def _room(recipe: Recipe) -> Path:
    """Where checkpoints are tried: on the disk of the results, which the forecast is of."""
    folder = Path(recipe.folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
