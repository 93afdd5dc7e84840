"""A command or a webhook of the user's, when a sweep has ended or failed."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import SweepState
from sweep_runner.spec.model import Notify


def payload(paths: SweepPaths, status: str, reason: str, state: SweepState) -> dict[str, Any]:
    """What is told: one flat JSON object."""
    best = state.best()
    return {
        "sweep": paths.name,
        "state": status,
        "reason": reason,
        "metric": state.objective.metric,
        "best_value": best.best_value if best else None,
        "best_trial": best.trial if best else None,
        "num_trials": len(state.trials),
        "num_failed": state.counts()["FAILED"],
        "folder": str(paths.root),
        "model": str(paths.best) if paths.best.is_dir() else None,
    }


def notify(wanted: Notify, told: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    """Runs the command and calls the webhook; what goes wrong is a warning and nothing more.

    Args:
        wanted: the `notify` section.
        told: JSON-ready: the webhook's body; for the command on standard input, and as SWEEP_* variables.
        warn: told what went wrong.
    """
    body = json.dumps(told).encode()
    if wanted.command:
        variables = {f"SWEEP_{key.upper()}": "" if value is None else str(value) for key, value in told.items()}
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", wanted.command],
                input=body,
                env={**os.environ, **variables},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=wanted.timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            warn(f"notify.command: {error}")
        else:
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip().splitlines()
                warn(f"notify.command ended with exit code {done.returncode}" + (f": {said[-1]}" if said else ""))
    if wanted.webhook:
        request = urllib.request.Request(
            wanted.webhook, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=wanted.timeout_s):
                pass
        except (OSError, ValueError, urllib.error.HTTPError) as error:
            # Not the address: webhooks carry their secret in it.
            warn(f"notify.webhook: {error}")
