"""`sweep trial`: one trial in this process, without Ray, to debug a trainable."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from sweep_runner.cli.checking import checked_plan
from sweep_runner.cli.common import Out, common_options, set_option
from sweep_runner.cli.taken_view import say_taken
from sweep_runner.results.paths import ResultsPaths

_FEW = 8  # metrics that fit into a line


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@set_option
@click.option("--baseline", metavar="NAME", help="Baseline to train (default: the first value of each parameter).")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the trial's files here, and continue from them.")
@common_options
def trial(
    file: Path, overrides: tuple[str, ...], baseline: str | None, folder: Path | None, results: ResultsPaths, out: Out
) -> None:
    """Train one configuration of FILE in this process: breakpoints work, tracebacks are complete.

    Prints one line per epoch; --verbose prints every metric.

    \b
    Examples:
      sweep trial sweeps/quickstart.yaml --set fixed.epochs=2
      sweep trial sweeps/voc.yaml --baseline adam-max --folder /tmp/voc-trial
    """
    from sweep_runner.errors import RequestError
    from sweep_runner.spec.check import check_prepared
    from sweep_runner.spec.space import first_params
    from trainables import environment
    from trainables.contract import EpochReport
    from trainables.local import LocalHandle

    if removed := environment.withhold(os.environ):
        out.say(environment.words(removed))
    plan = checked_plan(file, overrides, out)
    say_taken(plan, file, out)
    spec = plan.spec
    if baseline is not None and baseline not in spec.baselines:
        names = ", ".join(spec.baselines) or "none"
        raise RequestError(f"--baseline {baseline}: no such baseline", hint=f"baselines of {file}: {names}")
    params = spec.baselines[baseline] if baseline is not None else first_params(spec.space, spec.fixed)
    out.say(f"params: {', '.join(f'{name}={value}' for name, value in params.items()) or 'none'}")

    main_metrics = (spec.objective.metric, "train_loss", "val_loss", "lr", "epoch_s")

    def show(report: EpochReport) -> None:
        names = dict.fromkeys(report.metrics if out.verbose or len(report.metrics) <= _FEW else main_metrics)
        figures = ", ".join(f"{name} {report.metrics[name]:.5g}" for name in names if name in report.metrics)
        out.result(f"epoch {report.epoch}: {figures}")

    with tempfile.TemporaryDirectory(prefix="sweep-trial-") as temporary:
        root = folder if folder is not None else Path(temporary)
        data_folder = root / "data"
        data_folder.mkdir(parents=True, exist_ok=True)
        trainable = plan.trainable(plan.data, data_folder)
        preparation = trainable.prepare(plan.candidates)
        check_prepared(plan, preparation)
        for label, text in preparation.summary.items():
            out.say(f"{label}: {text}")
        for warning in preparation.warnings:
            out.warn(warning)
        handle = LocalHandle(
            root / "trial",
            seed=spec.search.seed,
            name=baseline,
            num_threads=spec.resources.num_threads,
            metric=spec.objective.metric,
            mode=spec.objective.mode,
            trainable=spec.trainable,
            on_report=show,
        )
        if handle.resumed is not None:
            out.say(f"continuing after epoch {handle.resumed.epoch}")
        trainable.train(plan.make_config(params), handle)
