"""`sweep evaluate`: an exported model against labelled data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweep_runner.cli.common import Out, common_options, data_option, json_option
from sweep_runner.cli.data import Teller
from sweep_runner.cli.measures_view import Measures
from sweep_runner.cli.model import FORMATS, find_model
from sweep_runner.cli.trial_name import model_trial_option
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.paths import ResultsPaths
from trainables.cpus import num_cpus

if TYPE_CHECKING:
    from trainables.image.data_config import DataConfig
    from trainables.image.deployment.evaluate_package import PackageScores
    from trainables.image.package import Package

SPLITS = ("train", "val", "test", "all")
_NUM_PAIRS = 5


@click.command()
@click.argument("model", metavar="MODEL[/TRIAL]")
@model_trial_option
@click.argument("data")
@data_option
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    help="Split to evaluate (default: test, or all examples of a folder without test/).",
)
@click.option(
    "--unknown-classes",
    type=click.Choice(["fail", "apart"]),
    default="fail",
    show_default=True,
    help="Examples of classes that the model lacks: an error, or left out of the metrics and counted.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Print one row per class: sensitivity and specificity if a class is predicted from this probability on.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Coverage and accuracy if the model abstains below this confidence.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="DIR", help="Folder for tables, figures and metrics."
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    default="tsv",
    show_default=True,
    help="Format of the tables.",
)
@json_option
@common_options
def evaluate(
    model: str,
    data: str,
    overrides: tuple[str, ...],
    split: str | None,
    unknown_classes: str,
    threshold: float | None,
    confidence: float | None,
    output: Path | None,
    file_format: str,
    as_json: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Evaluate an exported model on labelled data: metrics, one row per class, confusion matrix.

    MODEL is the name of a sweep (its best model), the folder of a model package or its ONNX file. DATA is a folder in
    any layout that `sweep init` recognises, a sweep file, or the name of a sweep, whose data section is used;
    --set data.KEY=VALUE changes it. Classes are matched by name. Prints one row per metric.

    \b
    Examples:
      sweep evaluate sports-balls ~/my-photos
      sweep evaluate results/voc-crops/best sweeps/voc.yaml --split val --output /tmp/voc-val
      sweep evaluate photos ~/photos --set data.table=labels.csv --json
      sweep evaluate moles ~/clinic --threshold 0.2
    """
    from sweep_runner.results.display import from_here
    from trainables.image.deployment.evaluate_package import evaluate_package
    from trainables.image.package import load_package

    if output is not None and output.exists() and not output.is_dir():
        raise RequestError(f"--output {output}: is not a folder", hint="Choose a folder; it is created if necessary.")
    num_threads = num_cpus()
    package = load_package(find_model(model, results), num_threads)
    config, is_folder = _data_section(data, overrides, results)
    if is_folder and Path(data).name == data and (own := results.sweep(data)).spec.is_file():
        out.warn(
            f"{data} is a folder here and the name of a sweep: the folder is evaluated, with splits of its own. For "
            f"the data and splits of the sweep: {from_here(own.root)}"
        )
    chosen = split or (None if is_folder else "test")
    scores = evaluate_package(
        package,
        config,
        chosen,
        unknown="apart" if unknown_classes == "apart" else "fail",
        num_threads=num_threads,
        progress=Teller(out),
    )
    _tell(scores, out)
    if scores.split == "test" and scores.fingerprint:
        _count_look(scores, package, data, results, out)
    found = Measures(scores.evaluation.predictions, scores.split, package.facts.origin, results, threshold, confidence)
    found.say(out)
    if output is not None:
        _write(scores, found, output, file_format, out)
    if as_json:
        out.json({**_as_json(scores, str(package.path)), "measures": found.as_json()})
    elif threshold is not None:
        found.print_classes(out)
    else:
        out.table(("metric", "value"), list(scores.evaluation.metrics.items()))


def _data_section(data: str, overrides: Sequence[str], results: ResultsPaths) -> tuple[DataConfig, bool]:
    """The data that DATA stands for, and whether it is a folder.

    Raises:
        RequestError: neither a folder, a sweep file nor a sweep; or what it says is wrong.
    """
    from pydantic import ValidationError

    from sweep_runner.results.lookup import find_sweep
    from sweep_runner.spec.document import Document
    from sweep_runner.spec.explain import explain
    from sweep_runner.spec.loader import load_resolved, load_spec
    from sweep_runner.spec.overrides import apply_overrides
    from trainables.errors import DataError
    from trainables.image.data_config import DataConfig

    path = Path(data).expanduser()
    is_folder = path.is_dir() and not (path / "sweep.yaml").is_file()
    section: Any
    if is_folder:
        document = Document({"data": {"root": str(path.absolute())}}, {})
        values, places = apply_overrides(document, data, overrides)
        section = values["data"]
    else:
        if path.is_file():
            loaded = load_spec(path, overrides)
        elif (path / "sweep.yaml").is_file():
            loaded = load_resolved(path / "sweep.yaml", overrides)
        elif len(path.parts) == 1 and not path.suffix:
            loaded = load_resolved(find_sweep(results, data).spec, overrides)
        else:
            raise RequestError(
                f"{data}: no such folder or sweep file",
                hint="Give a folder of labelled images, a sweep file, or the name of a sweep.",
            )
        if loaded.spec.trainable != "image_classifier":
            raise RequestError(
                f"{data}: its trainable is {loaded.spec.trainable!r}, whose data an image model cannot read"
            )
        section, places = loaded.spec.data, loaded.places
    try:
        return DataConfig.model_validate(section), is_folder
    except ValidationError as error:
        raise RequestError(explain(error, raw=section, where=places.where, model=DataConfig, at=("data",))) from error
    except DataError as error:
        raise RequestError(str(error)) from error


def _count_look(scores: PackageScores, package: Package, data: str, results: ResultsPaths, out: Out) -> None:
    """Notes that test was looked at with the sweeps whose very examples it was: the model's own, and the one that DATA
    names."""
    from sweep_runner.cli.remote import upload_look
    from sweep_runner.results.leaderboard import leaderboard, sweep_row
    from sweep_runner.results.uses_of_test import note_look, uses_of_test

    origin = package.facts.origin
    there = {paths.name: paths for paths in results.sweeps()}
    for name in dict.fromkeys((str(origin.get("sweep")), Path(data).name)):
        if name not in there or sweep_row(there[name]).values.get("data_fingerprint") != scores.fingerprint:
            continue
        try:
            upload_look(results, name, note_look(there[name], origin, str(package.path)))
        except (OSError, SweepError) as error:
            out.warn(f"this use of the test split is not recorded: {there[name].looks_at_test}: {error}")
        out.say(f"test split of sweep {name}: {uses_of_test(results, leaderboard(results, name))}")


def _tell(scores: PackageScores, out: Out) -> None:
    """What people should know beside the metrics."""
    from sweep_runner.report.accuracy import accuracy

    evaluation = scores.evaluation
    found = accuracy(evaluation.predictions)
    out.say(f"{evaluation.num_examples} examples ({scores.split}); accuracy {found}")
    for warning in scores.warnings:
        out.warn(warning)
    for defect in scores.defects:
        out.warn(f"left out: {defect}")
    if scores.absent:
        out.say(f"classes of the model without examples: {', '.join(scores.absent)}")
    for name, count in scores.unknown.items():
        taken = {said: times for (actual, said), times in scores.taken_for.items() if actual == name}
        most = sorted(taken.items(), key=lambda item: -item[1])[:3]
        what = f"; predicted as {', '.join(f'{said} ({times})' for said, times in most)}" if most else ""
        out.warn(f"the model has no class {name}: {count} examples are left out of the metrics{what}")
    assert evaluation.confusions is not None
    pairs = [
        (row["count"], row["actual"], row["predicted"])
        for row in evaluation.confusions.to_pylist()
        if row["label"] is None and row["actual"] != row["predicted"]
    ]
    if pairs:
        pairs.sort(key=lambda pair: -pair[0])
        shown = ", ".join(f"{actual} → {said} ({count})" for count, actual, said in pairs[:_NUM_PAIRS])
        out.say(f"most confused: {shown}")


def _write(scores: PackageScores, found: Measures, folder: Path, file_format: str, out: Out) -> None:
    from sweep_runner.cli.prediction_tables import for_text
    from sweep_runner.cli.query_output import write_result
    from sweep_runner.report.facts import calibration_bins
    from sweep_runner.report.plot_data import confusion_of
    from sweep_runner.report.plots import ABOUT_CONFUSIONS, calibration, save

    folder.mkdir(parents=True, exist_ok=True)
    evaluation = scores.evaluation
    assert evaluation.confusions is not None
    tables = {"predictions": evaluation.predictions, "classes": evaluation.classes, "confusions": evaluation.confusions}
    for name, table in {**tables, "coverage": found.coverage_table()}.items():
        file = folder / f"{name}.{file_format}"
        write_result(table if file_format == "parquet" else for_text(table), file_format, file, out)
    metrics = {"split": scores.split, "num_examples": evaluation.num_examples, "metrics": dict(evaluation.metrics)}
    metrics["measures"] = found.as_json()
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    confusion = confusion_of("model", scores.split, **tables)
    for what, draw in ABOUT_CONFUSIONS.items():
        save(draw([confusion]), folder / f"{what}.png")
    bins = calibration_bins(evaluation.predictions)
    save(calibration(bins, f"model, {scores.split}"), folder / "calibration.png")
    out.say(f"metrics.json, tables and figures in {folder}")


def _as_json(scores: PackageScores, model: str) -> Mapping[str, Any]:
    evaluation = scores.evaluation
    assert evaluation.confusions is not None
    return {
        "model": model,
        "split": scores.split,
        "num_examples": evaluation.num_examples,
        "metrics": evaluation.metrics,
        "classes": evaluation.classes.drop_columns(["split"]).to_pylist(),
        "confusions": evaluation.confusions.drop_columns(["split"]).to_pylist(),
        "absent_classes": scores.absent,
        "unknown_classes": [
            {
                "class": name,
                "num_examples": count,
                "predicted": {said: times for (actual, said), times in scores.taken_for.items() if actual == name},
            }
            for name, count in scores.unknown.items()
        ],
        "left_out": [{"name": defect.name, "reason": defect.reason} for defect in scores.defects],
        "warnings": scores.warnings,
    }
