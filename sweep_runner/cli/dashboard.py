"""`sweep dashboard`: optuna-dashboard on a sweep's study."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.paths import ResultsPaths


@click.command()
@click.argument("name")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Of this machine only.")
@common_options
def dashboard(name: str, port: int, results: ResultsPaths, out: Out) -> None:
    """Open the study of the sweep NAME in optuna-dashboard, on this machine only.

    It shows a copy of the study, taken now: what is changed there does not reach the sweep, which may be running. Start
    it again to see what came since. Stop it with Ctrl-C.

    \b
    Examples:
      sweep dashboard voc-crops
      sweep dashboard voc-crops --port 8081
    """
    from sweep_runner.results.lookup import find_sweep

    paths = find_sweep(results, name)
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise RequestError(
            "optuna-dashboard is not installed", hint="Install it: pip install 'sweep-runner[dashboard]'"
        )
    if not paths.study.is_file():
        raise RequestError(f"{paths.study} is missing: the sweep has no study yet")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna_dashboard import run_server

    with tempfile.TemporaryDirectory(prefix="sweep-dashboard-") as folder:
        copy = Path(folder) / "study.journal"
        shutil.copyfile(paths.study, copy)
        content = copy.read_bytes()
        copy.write_bytes(content[: content.rfind(b"\n") + 1])  # the last line may be half written
        out.say(f"http://127.0.0.1:{port}/   (Ctrl-C ends it)")
        try:
            run_server(JournalStorage(JournalFileBackend(str(copy))), host="127.0.0.1", port=port)
        except OSError as error:
            raise SweepError(f"port {port}: {error.strerror or error}; choose another with --port") from error
