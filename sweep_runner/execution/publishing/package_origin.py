"""Whose model the published package is, as the package itself says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweep_runner.results.paths import SweepPaths


def published_trial(paths: SweepPaths) -> int | None:
    """Which trial the package under `best/` is of; None of what was made of several, and without a package."""
    origin = published_origin(paths)
    return None if origin is None or origin.get("candidate") else int(origin["trial"])


def published_origin(paths: SweepPaths) -> Mapping[str, Any] | None:
    """Where the package under `best/` comes from: its trial, epoch and more. None without one of ours."""
    try:
        origin = json.loads((paths.best / "model.json").read_bytes())["origin"]
        int(origin["trial"])
    except (OSError, ValueError, KeyError, TypeError):
        # No package, or not one of ours: either way there is none that counts as published.
        return None
    return dict(origin)
