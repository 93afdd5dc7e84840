"""`sweep check` and `sweep schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweep_runner.cli.checking import checked_plan
from sweep_runner.cli.common import Out, common_options, json_option, set_option
from sweep_runner.cli.taken_view import say_taken
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic import BaseModel

    from sweep_runner.spec.ending import Confirm, Stop
    from sweep_runner.spec.model import SweepSpec
    from sweep_runner.spec.plan import Plan


_ALWAYS_SHOWN = ("dataset", "view", "split.train", "split.val", "split.test")
"""Keys of the data section, also where they are at their defaults."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@set_option
@json_option
@common_options
def check(file: Path, overrides: tuple[str, ...], as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Validate a sweep FILE and print the resolved plan. Starts nothing and reads no data.

    \b
    Examples:
      sweep check sweeps/quickstart.yaml
      sweep check sweeps/voc.yaml --set 'space.model=[resnet18]' --set space.finetune=head --set 'baselines={}'
    """
    plan = checked_plan(file, overrides, out)
    say_taken(plan, file, out)
    for warning in plan.warnings:
        out.warn(warning)
    root = getattr(plan.data, "root", None)
    no_data = ""
    if isinstance(root, Path) and not root.exists() and not getattr(plan.data, "download", False):
        no_data = f"data.root: {root} does not exist on this machine: `sweep run` would end at once here"
    if (missing := _too_many_cpus(plan.spec)) is not None:
        out.warn(missing)
    if results.sweep(plan.spec.name).spec.is_file():
        out.say(f"a sweep of this name exists already: {results.sweep(plan.spec.name).root}", style="yellow")
    from sweep_runner.execution.driver.forecast import forecast

    room = forecast(plan, results.sweep(plan.spec.name).root)
    if room.warning:
        out.warn(room.warning)
    if as_json:
        if no_data:
            out.warn(no_data)
        out.json({**plan_as_json(plan), "disk": {"needed_bytes": room.needed_bytes, "free_bytes": room.free_bytes}})
        return
    out.table(("parameter", "values", "when"), _space_rows(plan), title="Space")
    out.result("")
    rows = [*_plan_rows(plan), *(("disk", line) for line in room.lines)]
    out.table(("key", "value"), rows, title="Plan")
    look = (
        f" `sweep data check {file}` checks its data{_of_classes(plan.data)}." if type(plan.data).model_fields else ""
    )
    if no_data:  # last, where it is seen; no error, since the file may be meant for another machine
        out.warn(no_data)
    out.say(f"{file} is valid.{'' if no_data else look}", style="green")


@click.command()
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["json", "markdown"]),
    default="json",
    show_default=True,
    help="json: JSON Schema, for editors; markdown: a page for people.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to a file.")
@common_options
def schema(file_format: str, output: Path | None, results: ResultsPaths, out: Out) -> None:
    """Print the JSON Schema of the sweep file, for editors, or a reference of all its keys.

    Editors with the YAML language server use it when the sweep file begins with
    "# yaml-language-server: $schema=FILE".

    \b
    Examples:
      sweep schema --output sweeps/sweep.schema.json
      sweep schema --format markdown
    """
    if file_format == "markdown":
        from sweep_runner.spec.reference import sweep_reference

        text = sweep_reference()
    else:
        from sweep_runner.spec.schema import sweep_schema

        text = json.dumps(sweep_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        out.result(text.removesuffix("\n"))
        return
    from sweep_runner.durable import write_atomically

    write_atomically(output, text.encode())
    out.say(f"wrote {output}")


def _too_many_cpus(spec: SweepSpec) -> str | None:
    """Where trials would run on this machine, that it has too few CPUs for one of them. `sweep run` refuses it."""
    from sweep_runner.spec.cluster import LOCAL
    from trainables.cpus import num_cpus

    if spec.cluster.address != LOCAL or spec.resources.cpus <= num_cpus():
        return None
    return (
        f"resources.cpus is {spec.resources.cpus:g}: this machine has {num_cpus()} CPUs, so no trial can start here. "
        f"Lower it to {num_cpus()} or less, or run the sweep on a machine or cluster that has as many"
    )


def _of_classes(data: BaseModel) -> str:
    """Whether the file names classes: only the data tells whether it has them."""
    named = getattr(data, "classes", None) or _caps(data)
    return ", and the names of classes in the file" if named else ""


def _caps(data: BaseModel) -> bool:
    caps = getattr(getattr(data, "balance", None), "caps", None)
    return isinstance(caps, dict) and bool(caps)


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The resolved spec and what follows from it, for scripts."""
    return {
        "spec": plan.spec.model_dump(),
        "trainable": f"{plan.trainable.__module__}:{plan.trainable.__qualname__}",
        "grid_size": plan.grid_size,
        "max_epochs": plan.max_epochs,
        "warnings": list(plan.warnings),
    }


def _space_rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for name, parameter in plan.spec.space.items():
        conditions = (f"{key} is {' or '.join(map(str, allowed))}" for key, allowed in parameter.when.items())
        yield name, parameter.describe(), " and ".join(conditions)


def _gpus_in_words(spec: SweepSpec) -> str:
    if spec.resources.gpus != "auto":
        return f"{spec.resources.gpus:g}"
    from sweep_runner.spec.cluster import LOCAL

    if spec.cluster.address != LOCAL:
        return "one if the machine has one"
    from sweep_runner.results.environment import gpu_names

    names = gpu_names()
    if not names:
        return "0 (auto: this machine has none)"
    alone = spec.resources.workers == 1 and "workers" not in spec.space
    return f"auto: {', '.join(names)}" + (", shared by as many trials as gives most images/s" if alone else "")


def _plan_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    from sweep_runner.spec.goals import amount

    spec = plan.spec
    settings = "unlimited" if plan.grid_size is None else f"{plan.grid_size:,}"
    trials = spec.search.trials
    if spec.search.sampler == "grid" and plan.grid_size is not None:
        trials = min(trials, plan.grid_size)
    gpus = _gpus_in_words(spec)
    concurrent = spec.resources.max_concurrent
    yield "name", spec.name
    yield "trainable", spec.trainable
    yield "trials", f"{trials}, {len(spec.baselines)} of them baselines ({', '.join(spec.baselines) or 'none'})"
    yield "distinct configurations", settings
    if plan.max_epochs is not None:
        models = plan.trainable.num_models(plan.data)
        yield "epochs", f"at most {plan.max_epochs} per trial" + (f", each of {models} models" if models > 1 else "")
    yield "objective", f"{spec.objective.metric}, {spec.objective.mode}"
    for place, goal in enumerate(spec.objective.also, start=2):
        yield f"objective {place}", f"{goal.column}, {goal.better_is}"
    for name, limit in spec.limits.items():
        yield f"at most, {limit.fact(name)}", amount(limit.max)
    yield "sampler", f"{spec.search.sampler}, seed {spec.search.seed}{_details(spec.search.options)}"
    yield "pruner", f"{spec.pruner.kind}{_details(spec.pruner.model_dump(exclude={'kind'}))}"
    if spec.search.stop is not None:
        yield "search ends", "; or ".join(_rules(plan, spec.search.stop))
    if spec.search.confirm is not None:
        yield "confirming", _confirming(plan, spec.search.confirm)
    yield "fixed", _details(spec.fixed, "")
    yield "a worker", f"CPUs: {spec.resources.cpus:g}, GPUs: {gpus}"
    workers = sorted(set(plan.workers))
    number = f"{workers[0]}" if len(workers) == 1 else f"{workers[0]} to {workers[-1]} (space.workers)"
    yield "a trial", f"workers: {number}, retries if it fails: {spec.resources.max_failures}"
    yield "at a time", "as many trials as fit the machine" if concurrent == "auto" else f"{concurrent} trials"
    anew = ", to retrain the best trial's model on train and val" if spec.export.refit else ""
    yield "export", (", ".join(spec.export.formats) or "nothing") + anew
    more = {
        "a soup of kept checkpoints": spec.export.soup,
        f"an ensemble of the best {spec.export.ensemble}": spec.export.ensemble,
    }
    if made := [text for text, asked in more.items() if asked]:
        yield "published instead", f"{' or '.join(made)}, if significantly better on val"
    if spec.export.temperature:
        yield "temperature", "fitted on val, in the exported model"
    yield from _data_rows(plan.data)


def _data_rows(data: BaseModel) -> Iterator[tuple[str, str]]:
    """The data section: how it is split, and what is not at its default; how many other settings are."""
    at_default = 0
    for key, value, is_default in _settings(data, getattr(data, "without_effect", frozenset())):
        if is_default and key not in _ALWAYS_SHOWN:
            at_default += 1
        else:
            yield f"data.{key}", str(value)
    if at_default:
        yield "data", f"{at_default} other settings at their defaults (--json lists them)"


def _settings(section: BaseModel, left_out: Collection[str] = (), prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
    """What is set in a section and those within it: key, value, whether it is the default."""
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if key in left_out or value is None or value == {}:
            continue
        if hasattr(value, "model_fields_set"):
            yield from _settings(value, (), f"{prefix}{key}.")
        elif isinstance(value, dict):
            yield from ((inner, item, False) for inner, item in _flat(value, f"{prefix}{key}."))
        else:
            yield f"{prefix}{key}", value, value == field.get_default(call_default_factory=True)


def _rules(plan: Plan, stop: Stop) -> Iterator[str]:
    """What ends the search, in the order in which a file has it."""
    from sweep_runner.execution.keeper.ending import EndWork
    from trainables.quantities import duration_text

    metric = plan.spec.objective.metric
    if stop.after is not None:
        work = EndWork.of(plan)
        kept = min(work.start_s, stop.after / 2)
        besides = f" and the time of about {work.passes} epochs" if work.passes else ""
        again = ", and of confirming," if plan.spec.search.confirm is not None else ""
        yield (
            f"so that everything ends within {duration_text(stop.after)}: {duration_text(kept)}{besides}{again} "
            "are kept for what follows"
        )
    if stop.at is not None:
        yield f"at {metric} {stop.at:g}"
    if stop.no_gain is not None:
        yield f"after {stop.no_gain} trials without improvement of {metric}"
    yield f"after {plan.num_trials} trials"


def _confirming(plan: Plan, confirm: Confirm) -> str:
    """What running the best again costs at most."""
    top = min(confirm.top, plan.num_trials)
    runs = top * (confirm.seeds - 1)
    text = f"the best {top} are trained {confirm.seeds} times each: {runs} additional runs"
    if plan.max_epochs is None:
        return text
    epochs, searched = runs * plan.max_epochs, plan.num_trials * plan.max_epochs
    return f"{text}, up to {epochs:,} epochs in addition to up to {searched:,} of the search"


def _details(values: Mapping[str, Any], start: str = ": ") -> str:
    known = {key: value for key, value in values.items() if value is not None}
    return start + ", ".join(f"{key} {value}" for key, value in known.items()) if known else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested sections as dotted keys; what is not set is left out."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None and value != {}:
            yield f"{prefix}{key}", value
