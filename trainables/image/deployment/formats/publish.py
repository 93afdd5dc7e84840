"""Adds further formats to a model package: each is made by several recipes, chosen by val, and added only if it holds.

The float file is the reference: it was compared with the trained model before. A format that loses more than it may, is
not faster where that is asked, or cannot be made, is left out, and the package stays as it was.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from trainables.facts import STANDARD, settings_of
from trainables.formats import FORMATS, ONNX, FormatName, FormatsWanted
from trainables.image.data_config import DataConfig
from trainables.image.deployment.formats.judge import Examples, Judgement, Probabilities, judge
from trainables.image.deployment.formats.recipe import CannotConvert, FloatModel, MakesFormat, Recipe
from trainables.image.deployment.latency import latency_facts, runtime_name
from trainables.image.deployment.model_card import README_FILE, model_card
from trainables.image.index import ImageIndex
from trainables.image.package import CARD_FILE, ONNX_FILE, Package
from trainables.image.pixels.examples import open_pixels
from trainables.machine import machine_name

NUM_CALIBRATED = 256
"""Pictures of train that ranges are taken from, at most."""
MOST_TRIED = 1000
"""Pictures of val by which one of several recipes is chosen, at most; the chosen one is judged on all of val."""
_HELD_BACK = 4
"""Without a val split, one of so many pictures of train is kept from calibration and judged on."""
_FASTER = 0.95
"""Of the float file's time; what is nearer is noise."""


@dataclass(frozen=True)
class _Made:
    """A file that holds.

    Attributes:
        file: where it is meanwhile.
        recipe: that made it, in words.
        judged: on val, and on test where that is asked.
        tried: every recipe that was tried, with what it lost.
    """

    file: Path
    recipe: str
    judged: Sequence[Judgement]
    tried: Mapping[str, str]


class _LeftOut(Exception):
    """Why a format is not added, in words."""


def add_formats(
    package: Path, index: ImageIndex, data: DataConfig, wanted: FormatsWanted, num_threads: int = 1
) -> list[str]:
    """Adds formats to a package that holds the float ONNX file, and tells its card and README of them.

    Args:
        package: its folder, not in use by anyone.
        index: of the data that the model was trained on.
        data: as in the sweep file.
        wanted: what is asked.
        num_threads: CPU threads to use.

    Returns:
        What came of each format, in words; the card has all figures.
    """
    card: dict[str, Any] = json.loads((package / CARD_FILE).read_text(encoding="utf-8"))
    if not (package / ONNX_FILE).is_file():
        why = f"the package has no {ONNX_FILE} to make it of"
        card["formats_left_out"] = dict.fromkeys(wanted.names, why)
        _write_card(package, card)
        return [f"{name} is left out: {why}" for name in wanted.names]
    model = Package(package / ONNX_FILE, num_threads)
    facts = model.facts
    pixels = open_pixels(index, data, facts.input_resolution, facts.channels, num_threads, fit=facts.fit)
    entries: dict[str, Any] = {name: each for name, each in card.get("formats", {}).items() if name not in wanted.names}
    left_out = {name: why for name, why in card.get("formats_left_out", {}).items() if name not in wanted.names}
    for name in wanted.names:  # what was there of an earlier time is made anew
        for file in FORMATS[name].files:
            (package / file).unlink(missing_ok=True)
    lines = []
    with contextlib.closing(pixels), tempfile.TemporaryDirectory(dir=package.parent, prefix="formats-") as scratch:
        train, val = _train_and_val(index, pixels)
        splits = [val, Examples("test", index.rows("test"), index, pixels)]
        judged_on = [each for each in splits if len(each.rows) and (each is val or wanted.test)]
        reference = {each.split: each.answers(model) for each in judged_on}
        calibration = pixels.gather(train)
        latencies = _Latencies(package / ONNX_FILE, wanted)
        for name in wanted.names:
            folder = Path(scratch) / name
            folder.mkdir()
            try:
                source = FloatModel(package / ONNX_FILE, calibration, folder, num_threads)
                made = _made(name, source, wanted, judged_on, reference)
                measured = latencies.of(made.file, name in wanted.only_faster)
                for file in FORMATS[name].files:
                    made.file.with_suffix(Path(file).suffix).replace(package / file)
            except (_LeftOut, CannotConvert) as error:
                left_out[name] = str(error)
            except OSError as error:
                left_out[name] = f"writing it failed ({error.strerror or error}); the rest of the package is whole"
            else:
                entries[name] = _entry(name, package, made, measured, len(calibration))
            for path in folder.iterdir():
                path.unlink()
            lines.append(_line(name, entries, left_out, latencies.float))
        if entries:
            entries[ONNX] = {
                "file": ONNX_FILE,
                "bytes": (package / ONNX_FILE).stat().st_size,
                "judged": {
                    each.split: judge(each, facts, reference[each.split], reference[each.split]).to_json()
                    for each in judged_on
                },
                "facts": latencies.float,
            }
    order = [ONNX, *FORMATS]
    card["formats"] = {name: entries[name] for name in order if name in entries}
    card["formats_left_out"] = left_out
    card["formats_max_drop"] = wanted.max_drop
    card["formats_measured_on"] = f"{machine_name()}, {runtime_name()}"
    files = (path for path in package.iterdir() if path.suffix in (".onnx", ".safetensors", ".xml", ".bin"))
    card["files"] = {path.name: path.stat().st_size for path in sorted(files)}
    _write_card(package, card)
    return lines


def _write_card(package: Path, card: Mapping[str, Any]) -> None:
    (package / CARD_FILE).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (package / README_FILE).write_text(model_card(card), encoding="utf-8")


def _train_and_val(index: ImageIndex, pixels: Any) -> tuple[npt.NDArray[np.int64], Examples]:
    """The rows to calibrate on, and what recipes are chosen by."""
    train, val = index.rows("train"), index.rows("val")
    split = "val"
    if not len(val):  # as with folds: each example is val for one model, and the published one saw them all
        held = np.arange(len(train)) % _HELD_BACK == 0
        train, val, split = train[~held], train[held], "train"
    chosen = np.random.default_rng(0).permutation(len(train))[:NUM_CALIBRATED]
    return np.sort(train[chosen]), Examples(split, val, index, pixels)


def _made(
    name: FormatName,
    source: FloatModel,
    wanted: FormatsWanted,
    judged_on: Sequence[Examples],
    reference: Mapping[str, Probabilities],
) -> _Made:
    """The best file of the first group of recipes that has one which holds.

    Args:
        name: of the format.
        source: what it is made of.
        wanted: what it must keep.
        judged_on: val, by which recipes are chosen, and test where that is asked.
        reference: the float file's answers, by split.

    Raises:
        _LeftOut: none does.
        CannotConvert: the model cannot be had in this format.
    """
    module = cast(MakesFormat, importlib.import_module(FORMATS[name].module))
    val = judged_on[0]
    few = val.part(MOST_TRIED)
    places = np.searchsorted(val.rows, few.rows)
    tried: dict[str, str] = {}
    least: Judgement | None = None
    refusal: CannotConvert | None = None
    for group in module.recipes(source):
        found: list[tuple[tuple[float, float], Recipe, Path]] = []
        for recipe in group:
            path = source.scratch / f"tried-{len(tried)}{Path(FORMATS[name].file).suffix}"
            try:
                recipe.write(path)
                judged = _judged(few, path, source, reference[val.split][places])
            except CannotConvert as error:  # another recipe may do
                tried[recipe.what], refusal = str(error), refusal or error
                continue
            tried[recipe.what] = str(judged.drop)
            found.append(((judged.drop.points, judged.mean_difference), recipe, path))
        for _, recipe, path in sorted(found, key=lambda each: each[0]):
            judgement = _judged(val, path, source, reference[val.split])
            if least is None or judgement.drop.points < least.drop.points:
                least = judgement
            if judgement.drop.points <= wanted.max_drop + 1e-9:
                others = [_judged(each, path, source, reference[each.split]) for each in judged_on[1:]]
                return _Made(path, recipe.what, [judgement, *others], tried)
            break  # the others are worse on most of val already
    if least is None:
        assert refusal is not None, "a format has recipes"
        raise refusal
    raise _LeftOut(
        f"of {len(tried)} recipe{'s' if len(tried) > 1 else ''} the best loses {least.drop} on {val.split}, and at "
        f"most {wanted.max_drop:g} points may be lost (export.max_drop)"
    )


def _judged(examples: Examples, path: Path, source: FloatModel, reference: Probabilities) -> Judgement:
    package = Package(path, source.num_threads)
    found = examples.answers(package)
    if not np.isfinite(found).all():
        count = int((~np.isfinite(found)).any(axis=1).sum())
        raise CannotConvert(f"its numbers become too large: {count} of {len(found)} answers are not numbers")
    return judge(examples, package.facts, reference, found)


class _Latencies:
    """Times of files, and of the float file beside them."""

    def __init__(self, reference: Path, wanted: FormatsWanted) -> None:
        self._reference = reference
        self._settings = settings_of(wanted.latency)
        self._required = bool(wanted.only_faster)
        self.float: dict[str, float] = {}

    def of(self, file: Path, only_faster: bool) -> dict[str, float]:
        """The latencies of a file.

        Raises:
            _LeftOut: it is not faster, and should be.
        """
        settings = self._settings or (STANDARD[:1] if self._required else ())
        if not settings:
            return {}
        self.float = self.float or latency_facts(self._reference, settings)
        found = latency_facts(file, settings)
        if only_faster and not _is_faster(found, self.float):
            first = next(iter(found))
            raise _LeftOut(
                f"it is not faster on this machine: {found[first]:.4g} ms, the float model {self.float[first]:.4g} ms "
                "(one image, one thread)"
            )
        return found


def _is_faster(found: Mapping[str, float], reference: Mapping[str, float]) -> bool:
    """Whether a file takes less time in any setting."""
    medians = [name for name in found if "_p95" not in name and name in reference]
    return any(found[name] < _FASTER * reference[name] for name in medians)


def _entry(name: FormatName, package: Path, made: _Made, measured: Mapping[str, float], num: int) -> dict[str, Any]:
    return {
        "file": FORMATS[name].file,
        "bytes": sum((package / file).stat().st_size for file in FORMATS[name].files),
        "recipe": made.recipe,
        "num_calibrated": num,
        "tried": dict(made.tried),
        "judged": {each.split: each.to_json() for each in made.judged},
        "facts": dict(measured),
    }


def _line(
    name: FormatName, entries: Mapping[str, Any], left_out: Mapping[str, str], float_facts: Mapping[str, float]
) -> str:
    """What came of a format, for people."""
    if name in left_out:
        return f"{name} is left out: {left_out[name]}"
    entry = entries[name]
    (split, judged), *_ = entry["judged"].items()
    line = (
        f"{name}: {entry['file']}, {entry['bytes'] / 1e6:.2f} MB; loses {judged['drop']} on {split}, same answer on "
        f"{judged['num_agreeing']} of {judged['num_examples']}; {entry['recipe']}"
    )
    first = next((fact for fact in entry["facts"] if fact in float_facts), None)
    if first is not None:
        line += f"; {entry['facts'][first]:.4g} ms per image on one thread, float {float_facts[first]:.4g} ms"
        if entry["facts"][first] > float_facts[first]:
            line += ": slower on this machine"
    if split == "train":
        line += "; train is what the model learnt from, so a loss elsewhere may be larger"
    return line
