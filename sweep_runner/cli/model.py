"""`sweep predict` and `sweep export`: the model out, and used."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options, console
from sweep_runner.cli.trial_name import model_trial_option, trial_arguments
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from trainables.cpus import num_cpus
from trainables.formats import FORMATS as MODEL_FORMATS

if TYPE_CHECKING:
    from sweep_runner.results.state import SweepState
    from sweep_runner.spec.plan import Plan
    from trainables.image.deployment.predict import Package

ONNX_FILE = "model.onnx"
CARD_FILE = "model.json"
FORMATS = ("tsv", "csv", "json", "parquet")


@click.command()
@click.argument("model", metavar="MODEL[/TRIAL]")
@model_trial_option
@click.argument("images", nargs=-1, required=True, metavar="PATHS...")
@click.option(
    "--format", "file_format", type=click.Choice(FORMATS), help="Format (default: by --output's suffix, else tsv)."
)
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Write to a file, not stdout.")
@click.option(
    "--batch-size", type=click.IntRange(1, 4096), default=8, show_default=True, help="Images per batch and CPU."
)
@click.option(
    "--top", type=click.IntRange(min=1), metavar="K", help="Print the K most probable classes instead of all."
)
@common_options
def predict(
    model: str,
    images: tuple[str, ...],
    file_format: str | None,
    output: Path | None,
    batch_size: int,
    top: int | None,
    results: ResultsPaths,
    out: Out,
) -> int:
    """Predict images with an exported model.

    MODEL is the name of a sweep (its best model, or NAME/TRIAL: an exported one), the folder of a model package, or an
    ONNX file of one. PATHS are
    image files, folders (with all their subfolders), quoted glob patterns such as 'photos/**/*.jpg', tables
    (CSV, TSV, text, JSONL, Parquet) with a column of paths, or - for one path per line on standard input.

    Prints one row per image: path, predicted, probability, the probability of each class, and an error for a file
    that could not be read. On a terminal the columns per class are left out; --top K shows the K best. Exit code 1 if
    a file could not be read.

    \b
    Examples:
      sweep predict quickstart photo.jpg
      sweep predict results/voc-crops/best 'photos/**/*.jpg' --top 3 --output predictions.parquet
    """
    from sweep_runner.cli.no_pandas import without_pandas

    file_format = _format(file_format, output)
    with without_pandas():
        return _predict(find_model(model, results), images, file_format, output, batch_size, top, out)


def _predict(
    model: Path,
    images: tuple[str, ...],
    file_format: str | None,
    output: Path | None,
    batch_size: int,
    top: int | None,
    out: Out,
) -> int:
    import pyarrow as pa

    from sweep_runner.cli.prediction_tables import for_terminal, for_text, top_classes
    from sweep_runner.cli.query_output import write_result
    from trainables.image.deployment.predict import find_images, load_package, predict_paths, predictions_schema

    num_threads = num_cpus()
    package = load_package(model)  # a thread of ours runs the model for each CPU
    given = [line.rstrip("\n") for line in sys.stdin if line.strip()] if "-" in images else []
    files = find_images([*(path for path in images if path != "-"), *given])
    _say_model(package, out)
    started = time.monotonic()
    batches = []
    with _progress(out, len(files)) as advance:
        # Few files: each CPU gets its share.
        at_a_time = min(batch_size, -(-len(files) // num_threads))
        for batch in predict_paths(package, files, at_a_time, num_threads):
            batches.append(batch)
            advance(len(batch))
    table = pa.Table.from_batches(batches, schema=predictions_schema(package.facts))
    duration_s = time.monotonic() - started
    if top is not None:
        table = top_classes(table, package.facts.classes, top)
    unreadable = [row for row in table.select(["path", "error"]).to_pylist() if row["error"] is not None]
    if output is None and file_format is None and sys.stdout.isatty():
        table, file_format = for_terminal(table, package.facts.classes), "table"
    write_result(table if file_format == "parquet" else for_text(table), file_format or "tsv", output, out)
    for row in unreadable:
        out.warn(f"{row['path']}: {row['error']}")
    out.say(_summary(len(files), len(unreadable), duration_s, output))
    return 1 if unreadable else 0


@click.command()
@trial_arguments
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the package (default: in the sweep's folder).",
)
@click.option(
    "--resolution",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Resolution of the exported model: the same weights, evaluated on val there. See `sweep resolutions`.",
)
@click.option(
    "--formats",
    metavar="NAMES",
    help=f"Formats to add: {', '.join(MODEL_FORMATS)}, with commas between. By default those of export.formats.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Percentage points of accuracy on val that a format may lose. By default export.max_drop.",
)
@common_options
def export(
    name: str,
    trial: str | None,
    output: Path | None,
    resolution: int | None,
    formats: str | None,
    max_drop: float | None,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Export the model of a trial of the sweep NAME: write the package, verify it, and print its folder.

    TRIAL is a number, a baseline's name, best, or the sweep's soup or ensemble. The default is the trial whose model
    the sweep publishes: the best, or the one that `export.prefer` selects.

    Does not evaluate the test split: only the published model is evaluated there, once, when the sweep ends, and each
    format that --formats adds to it.

    \b
    Examples:
      sweep export voc-crops
      sweep export voc-crops --formats onnx-int8
      sweep export voc-crops/adam-max
      sweep export voc-crops 12 --output /tmp/trial-12
      sweep export voc-crops --resolution 160
    """
    from sweep_runner.cli.export_formats import add_to, wanted_formats
    from sweep_runner.cli.remote import bring_checkpoint
    from sweep_runner.execution.evaluation.finalize import publish
    from sweep_runner.execution.publishing.export_trial import export_trial
    from sweep_runner.execution.publishing.package_origin import published_trial
    from sweep_runner.execution.publishing.tasks import partial_of
    from sweep_runner.results.candidates import MADE
    from sweep_runner.results.log import read_events
    from sweep_runner.results.lookup import find_sweep, spec_file
    from sweep_runner.results.state import fold
    from sweep_runner.spec.check import check_spec
    from sweep_runner.spec.loader import load_resolved

    paths = find_sweep(results, name)
    plan = check_spec(load_resolved(spec_file(paths)))
    state = fold(read_events(paths.log), plan.spec.objective)
    is_made = trial in MADE and trial not in plan.spec.baselines
    wanted = wanted_formats(plan, formats, max_drop)
    if wanted and output is None and resolution is None:
        package = _made_package(paths, str(trial)) if is_made else _package_of(name, plan, state, paths, trial, out)
        if package is not None:
            add_to(package, plan, paths, state, {**wanted, "test": package == paths.best}, out)
            return
    if is_made and resolution is None:
        _export_made(paths, str(trial), output, out)
        return
    number = pick_exportable(name, plan, state, trial, out)
    bring_checkpoint(results, plan.spec, state.trials[number])
    if output is None and resolution is None and published_trial(paths) == number:
        out.say(f"trial {number} is the published model already")
        out.result(str(paths.best))
        return
    usual = paths.export(number if resolution is None else f"trial-{number}-{resolution}px")
    target = output.expanduser().absolute() if output is not None else usual
    if output is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(
            f"--output {output}: already exists and is not empty", hint="Choose a new or an empty folder."
        )
    out.say(f"exporting trial {number} of {name}")
    partial = partial_of(target)
    result = export_trial(plan, paths, state, number, partial, resolution, wanted)
    verified = result.verified or {}
    publish(partial, target)
    if "max_difference" in verified:
        out.say(
            f"verified on {verified['num_images']} {verified['split']} images: {verified['num_agreeing']} of "
            f"{verified['num_decisions']} predictions agree, probabilities within {verified['max_difference']:.1g}"
        )
    for line in result.formats:
        out.say(line)
    if "note" in verified:
        out.warn(verified["note"])
    out.result(str(target))


def _package_of(
    name: str, plan: Plan, state: SweepState, paths: SweepPaths, trial: str | None, out: Out
) -> Path | None:
    """The published package, if it is the one that is meant; None: it is another trial's."""
    from sweep_runner.execution.publishing.package_origin import published_origin, published_trial

    if trial is None and (published_origin(paths) or {}).get("candidate"):
        return paths.best
    number = published_trial(paths)
    return paths.best if number is not None and pick_exportable(name, plan, state, trial, out) == number else None


def _made_package(paths: SweepPaths, kind: str) -> Path:
    """The package of a sweep's soup or ensemble: the published one, if it is it.

    Raises:
        RequestError: the sweep has made none.
    """
    from sweep_runner.execution.publishing.package_origin import published_origin

    if ((published_origin(paths) or {}).get("candidate") or {}).get("kind") == kind:
        return paths.best
    if not (paths.export(kind) / CARD_FILE).is_file():
        setting = "export.soup=auto" if kind == "soup" else "export.ensemble=3"
        raise RequestError(
            f"the sweep {paths.name!r} has no {kind}", hint=f"Make it: {paths.command('resume', '--set', setting)}"
        )
    return paths.export(kind)


def _export_made(paths: SweepPaths, kind: str, output: Path | None, out: Out) -> None:
    """The package of a soup or an ensemble, which was made when the sweep ended; a copy, where one is asked for."""
    import shutil

    package = _made_package(paths, kind)
    if output is not None:
        target = output.expanduser().absolute()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RequestError(f"--output {output}: there is something already", hint="Name a new or an empty folder.")
        package = Path(shutil.copytree(package, target, dirs_exist_ok=True))
    out.result(str(package))


def find_model(model: str, results: ResultsPaths) -> Path:
    """The package that MODEL stands for: a path if it is one, else a sweep's best model.

    Raises:
        RequestError: neither, or the sweep has no package yet.
    """
    from sweep_runner.results.lookup import find_sweep

    path = Path(model).expanduser()
    if path.is_file() or (path / ONNX_FILE).is_file():
        return path
    if (path / "sweep.yaml").is_file():
        sweep = SweepPaths(path.absolute())
    elif (named := _trial_of(model, results)) is not None:
        return named
    elif path.suffix == ".onnx" or len(path.parts) > 1 or path.is_absolute():
        what = f"holds no {ONNX_FILE}" if path.is_dir() else "does not exist"
        raise RequestError(f"{model}: the model {what}", hint=f"Give a package's folder, its {ONNX_FILE}, or a sweep.")
    else:
        try:
            sweep = find_sweep(results, model)
        except RequestError as error:
            (problem,) = error.problems
            message = f"unknown model {model!r}: no such file or folder, and {problem.message}"
            raise RequestError(message, hint=problem.hint) from error
    if (sweep.best / CARD_FILE).is_file() and not (sweep.best / ONNX_FILE).is_file():
        raise RequestError(
            f"the model of the sweep {sweep.name!r} has no ONNX translation ({sweep.best} holds no {ONNX_FILE})",
            hint=f"{sweep.best / 'README.md'} has the code that loads its weights with timm.",
        )
    if not (sweep.best / ONNX_FILE).is_file():
        raise RequestError(
            f"the sweep {sweep.name!r} has published no model yet ({sweep.best})",
            hint=f"Let it finish ({sweep.command('resume')}), "
            f"or export a trial that has ended: {sweep.command('export')}",
        )
    return sweep.best


def _trial_of(model: str, results: ResultsPaths) -> Path | None:
    """The package of SWEEP/TRIAL; None where the text names no sweep.

    Raises:
        RequestError: there is no such trial, or it was not exported.
    """
    from sweep_runner.execution.publishing.package_origin import published_trial
    from sweep_runner.results.candidates import MADE
    from sweep_runner.results.leaderboard import leaderboard
    from sweep_runner.results.trial_names import find_trials, split_name

    name, slash, inside = model.partition("/")
    if not slash or name not in {paths.name for paths in results.sweeps()}:
        return None
    paths = results.sweep(name)
    if inside in MADE:
        return _made_package(paths, inside)
    row = find_trials(leaderboard(results, name), [split_name(model)[1]])[0]
    package = paths.best if published_trial(paths) == row.trial else paths.export(row.trial)
    if not (package / ONNX_FILE).is_file():
        hint = f"Export it: {paths.command('export', str(row.trial))}"
        raise RequestError(f"trial {row.trial} of sweep {name!r} has no exported model yet", hint=hint)
    return package


def pick_exportable(name: str, plan: Plan, state: SweepState, trial: str | None, out: Out) -> int:
    """The trial to export: of a copy, the trial that was trained; where none is named, the one that is published."""
    from sweep_runner.execution.publishing.answering import answer_on_record, chosen
    from sweep_runner.results.trial_names import pick_trial

    if trial is None:
        published, answer = chosen(plan, state), answer_on_record(plan, state)
        if published is None:
            raise RequestError(
                f"no trial of the sweep {name!r} has ended with a result: no model can be exported yet",
                hint="Let it go on with `sweep resume`.",
            )
        if answer is not None and answer.chosen != answer.winner:
            out.say(answer.why_chosen)
        return published.trial
    best = state.best()
    names = {number: summary.name for number, summary in state.trials.items()}
    summary = state.trials[pick_trial(name, names, None if best is None else best.trial, trial)]
    return summary.trial if summary.copy_of is None else summary.copy_of


def _format(file_format: str | None, output: Path | None) -> str | None:
    if output is None:
        if file_format == "parquet":
            raise RequestError("--format parquet to stdout: Parquet is not text", hint="Add --output FILE.")
        return file_format
    if (output.exists() and not output.is_file()) or not output.absolute().parent.is_dir():
        rule = "is not an ordinary file" if output.exists() else "its folder does not exist"
        raise RequestError(f"--output {output}: {rule}", hint="Choose a file in an existing folder.")
    if file_format is None and output.suffix:
        file_format = output.suffix.removeprefix(".").lower()
        if file_format not in FORMATS:
            choices = ", ".join(FORMATS)
            raise RequestError(f"--output {output}: its ending names none of {choices}", hint="Add --format.")
    return file_format


def _say_model(package: Package, out: Out) -> None:
    facts = package.facts
    plain = {key: value for key, value in facts.origin.items() if isinstance(value, str | int)}
    origin = ", ".join(f"{key} {value}" for key, value in plain.items())
    if refit := facts.origin.get("refit"):
        origin += f", retrained on {' and '.join(refit['splits'])}"
    if made := facts.origin.get("candidate"):
        trials = ", ".join(each.partition(":")[0] for each in made["made_of"])
        origin = f"sweep {facts.origin.get('sweep')}, the {made['kind']} of trials {trials}"
    kind = "labels" if facts.multilabel else "classes"
    if facts.shown:
        out.warn(f"this model was trained on {facts.shown}: its answer to a whole photo means nothing")
    out.say(
        f"{package.path}: {len(facts.classes)} {kind}, {facts.input_resolution} px" + (f" ({origin})" if origin else "")
    )


@contextmanager
def _progress(out: Out, num_images: int) -> Iterator[Callable[[int], None]]:
    """What to call with the number of images done since: a bar on a terminal, lines for `--verbose` elsewhere."""
    num_done = 0

    def tell(num: int) -> None:
        nonlocal num_done
        num_done += num
        out.detail(f"{num_done} of {num_images} images")

    if out.quiet or not sys.stderr.isatty():
        yield tell
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        task = progress.add_task("images", total=num_images)
        yield lambda num: progress.advance(task, num)


def _summary(num_files: int, num_unreadable: int, duration_s: float, output: Path | None) -> str:
    text = f"{num_files - num_unreadable} of {num_files} images in {duration_s:.1f} s"
    if num_unreadable:
        text += f", {num_unreadable} unreadable"
    return text + (f" → {output}" if output else "")
