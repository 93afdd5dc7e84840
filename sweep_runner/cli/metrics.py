"""`sweep metrics`: how Prometheus and Grafana get to see the running sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.results.paths import ResultsPaths

SCRAPE_INTERVAL = "5s"


@click.command()
@click.argument("name", required=False)
@json_option
@common_options
def metrics(name: str | None, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Print the Prometheus configuration for all running sweeps, or for the sweep NAME only.

    Prometheus finds sweeps that start later by itself. Stderr tells which run now, and what to do in Grafana.

    \b
    Examples:
      sweep metrics > prometheus.yml
      sweep metrics quickstart --json
    """
    import yaml

    from sweep_runner.execution.ray_runtime.token import token_file
    from sweep_runner.results.lookup import find_sweep

    targets = find_sweep(results, name).metrics_target if name else results.metrics / "*.json"
    token = token_file()
    config = {"scrape_configs": [_scrape_config(targets, token)]}
    running = _running(results, name)
    board = dashboard_file()
    if as_json:
        out.json({"prometheus": config, "token_file": token, "grafana_dashboard": board, "running": running})
        return
    out.result(yaml.safe_dump(config, sort_keys=False).rstrip())
    for sweep, address in running.items():
        out.say(f"{sweep} is running, with metrics at http://{address}/metrics")
    if not running:
        out.say(f"{name} is not running" if name else "no sweep is running; Prometheus finds one that starts")
    out.say(
        "Prometheus: use this configuration (prometheus --config.file=prometheus.yml). Only you can read the token: "
        f"run Prometheus as yourself, or give its user a copy of {token} with mode 0600"
    )
    out.say(f"Grafana: import {board} (Dashboards, New, Import); its data source is that Prometheus")


def dashboard_file() -> Path:
    """The dashboard that Grafana imports."""
    return Path(__file__).parents[1] / "tracking" / "grafana" / "sweep-runner.json"


def _scrape_config(targets: Path, token: Path) -> dict[str, Any]:
    return {
        "job_name": "sweep-runner",
        "scrape_interval": SCRAPE_INTERVAL,
        "file_sd_configs": [{"files": [str(targets)]}],
        "authorization": {"type": "Bearer", "credentials_file": str(token.absolute())},
    }


def _running(results: ResultsPaths, name: str | None) -> dict[str, str]:
    """Sweep → address, of those that answer now."""
    from sweep_runner.durable import lock_holder

    found = {}
    for file in sorted(results.metrics.glob("*.json")):
        if name in (None, file.stem) and lock_holder(results.sweep(file.stem).lock) is not None:
            try:
                found[file.stem] = str(json.loads(file.read_bytes())[0]["targets"][0])
            except (OSError, ValueError, LookupError, TypeError):
                continue  # it has just ended
    return found
