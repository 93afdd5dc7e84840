"""`sweep app`: the explorer in a browser."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths
from trainables.extras import install_command

LOOPBACK = "127.0.0.1"
_STOPPED = (130, -2)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Port to listen on.")
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    help="Address to listen on. Anyone who can reach it sees the results, without a password.",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@common_options
def app(port: int, host: str, no_browser: bool, results: ResultsPaths, out: Out) -> int:
    """Explore all sweeps in the browser: filter trials, compare trials and sweeps, inspect confusions, try the model.

    Running sweeps update live. Ctrl-C stops the app. Nothing leaves this machine.

    \b
    Examples:
      sweep app
      sweep app --results /shared/results --port 8600 --no-browser
    """
    if find_spec("streamlit") is None:
        raise RequestError("sweep app needs streamlit", hint=f"Install it: {install_command('app')}")
    if not results.root.is_dir():
        raise RequestError(
            f"folder {results.root} does not exist", hint="Run a sweep, or choose another folder with --results."
        )
    if host != LOOPBACK:
        out.warn(f"everyone who can reach {host}:{port} can see the results and read images of this machine")
    out.say(f"explorer: http://{LOOPBACK if host == '0.0.0.0' else host}:{port}   (Ctrl-C stops it)")
    page = Path(__file__).parents[1] / "app" / "explorer.py"
    command = [
        sys.executable, "-m", "streamlit", "run", str(page),
        "--server.address", host,
        "--server.port", str(port),
        "--server.headless", "true" if no_browser else "false",
        "--server.showEmailPrompt", "false",
        "--server.fileWatcherType", "none",
        "--browser.gatherUsageStats", "false",
        "--runner.magicEnabled", "false",
        "--client.toolbarMode", "minimal",
        "--logger.level", "error",
        "--", str(results.root),
    ]  # fmt: skip
    try:
        code = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
    except KeyboardInterrupt:
        return 0
    return 0 if code in _STOPPED else code
