"""`sweep bench`: how long an exported model takes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options, output_options
from sweep_runner.cli.model import find_model
from sweep_runner.cli.trial_name import model_trial_option
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from trainables.facts import Threads


@click.command()
@click.argument("model", metavar="MODEL[/TRIAL]")
@model_trial_option
@click.option(
    "--batch", "batches", type=click.IntRange(1, 4096), multiple=True, help="Batch size. Repeatable.",
    default=(1, 32), show_default=True,
)  # fmt: skip
@click.option(
    "--threads", "threads", multiple=True, metavar="N|all", help="Number of CPU threads, or all. Repeatable.",
    default=("1", "all"), show_default=True,
)  # fmt: skip
@output_options
@common_options
def bench(
    model: str,
    batches: tuple[int, ...],
    threads: tuple[str, ...],
    file_format: str,
    output: Path | None,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Measure the latency of an exported model on this machine, in ONNX Runtime.

    MODEL is the name of a sweep (its best model), the folder of a model package, or an ONNX file of one.

    Prints one row per file of the package, batch size and number of threads: the median and the 95th percentile of
    single runs after a warm-up, in milliseconds per batch, and images per second. A GPU is measured, too, if ONNX
    Runtime has one. Reading and resizing image files is not included.

    \b
    Examples:
      sweep bench quickstart
      sweep bench results/voc-crops/best --batch 1 --batch 8 --threads 4 --format json
    """
    import pyarrow as pa

    from sweep_runner.cli.query_output import check_output, write_result
    from trainables.facts import LatencySetting
    from trainables.formats import missing
    from trainables.image.deployment import latency
    from trainables.machine import busy, machine_name

    check_output(file_format, output)
    settings = [LatencySetting(batch, _threads(text)) for text in threads for batch in batches]
    package = find_model(model, results)
    warning = busy()
    files = [package]
    if package.is_dir():
        needing = sorted(package.glob("model*.xml"))
        for command in missing(("openvino",)).values() if needing else ():
            out.warn(f"{needing[0].name} is left out: OpenVINO is not installed: {command}")
            needing = []
        files = sorted(package.glob("model*.onnx")) + needing
    found = [(file.name, row) for file in files for row in latency.bench(file, settings, out.detail)]
    rows = [row for _, row in found]
    out.say(f"{package}: on {machine_name()}, {latency.runtime_name()}; times are per batch")
    if warning:
        out.warn(warning)
    table = pa.table(
        {
            "file": [name for name, _ in found],
            "device": [row.device for row in rows],
            "batch": [row.batch for row in rows],
            "threads": pa.array([row.threads or None for row in rows], pa.int64()),
            "median_ms": [row.median_ms for row in rows],
            "p95_ms": [row.p95_ms for row in rows],
            "images_per_s": [round(row.images_per_s, 1) for row in rows],
            "runs": [row.num_runs for row in rows],
        }
    )
    write_result(table, file_format, output, out)


def _threads(text: str) -> Threads:
    if text == "all":
        return "all"
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise RequestError(f"--threads {text}: must be a number from 1 to 1024, or all")
    return int(text)
