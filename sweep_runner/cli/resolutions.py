"""`sweep resolutions`: the same weights at other resolutions, on val."""

from __future__ import annotations

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.cli.trial_name import trial_arguments
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths


@click.command()
@trial_arguments
@click.option("--at", type=click.IntRange(min=1), multiple=True, metavar="PX", help="Resolution to try; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def resolutions(
    name: str, trial: str | None, at: tuple[int, ...], as_json: bool, results: ResultsPaths, out: Out
) -> None:
    """Evaluate a trial of the sweep NAME on val at other resolutions than it was trained at.

    By default at 0.75, 1 and 1.25 times the resolution of training, with the same weights. Says whether one of them is
    better, or cheaper and not worse. Test is not looked at. `sweep export --resolution` exports a model there.

    \b
    Examples:
      sweep resolutions flowers
      sweep resolutions flowers/3 --at 96 --at 160
      sweep export flowers --resolution 96
    """
    from sweep_runner.cli.model import pick_exportable
    from sweep_runner.execution.publishing.candidates import checkpoint_of
    from sweep_runner.execution.publishing.resolutions import points, verdict
    from sweep_runner.results.log import read_events
    from sweep_runner.results.lookup import find_sweep, spec_file
    from sweep_runner.results.state import fold
    from sweep_runner.spec.check import check_spec
    from sweep_runner.spec.loader import load_resolved

    paths = find_sweep(results, name)
    plan = check_spec(load_resolved(spec_file(paths)))
    state = fold(read_events(paths.log), plan.spec.objective)
    number = pick_exportable(name, plan, state, trial, out)
    checkpoint = checkpoint_of(paths, state.trials[number])
    if checkpoint is None:
        raise RequestError(
            f"{paths.name}: trial {number} has no checkpoint on disk",
            hint="Only the best trials' are kept (keep.best): name one of those.",
        )
    config = plan.spec.config_of(state.trials[number].params)
    found = points(plan, config, paths.data, checkpoint, at, out.say)
    if as_json:
        rows = [
            {
                "resolution": point.resolution,
                "val_accuracy": point.accuracy.value,
                "low": point.accuracy.low,
                "high": point.accuracy.high,
                "difference": point.against and point.against.difference,
                "difference_low": point.against and point.against.low,
                "difference_high": point.against and point.against.high,
                "num_flops": point.num_flops,
                "onnx_latency_ms": point.latency_ms,
            }
            for point in found
        ]
        out.json({"sweep": name, "trial": number, "resolutions": rows, "verdict": verdict(found)})
        return
    head = ("resolution", "accuracy on val", "low", "high", "difference", "from", "to", "MFLOPs", "latency_ms")
    out.table(
        head,
        [
            (
                point.resolution,
                point.accuracy.value,
                point.accuracy.low,
                point.accuracy.high,
                point.against and point.against.difference,
                point.against and point.against.low,
                point.against and point.against.high,
                point.num_flops and point.num_flops / 1e6,
                point.latency_ms,
            )
            for point in found
        ],
    )
    out.say(f"trial {number}: {verdict(found)}")
    out.say(f"export at another resolution: {paths.command('export', str(number), '--resolution PX')}")
