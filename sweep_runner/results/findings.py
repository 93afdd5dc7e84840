"""What was found in a sweep's data before its first trial, kept with the sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep_runner.durable import write_atomically
from sweep_runner.results.paths import SweepPaths
from trainables.contract import Preparation


@dataclass(frozen=True)
class Findings:
    """What a trainable told when it prepared the data.

    Attributes:
        summary: label → text: classes, examples per split, near-duplicates, ...
        warnings: what a user should know.
        details: the same and more for scripts.
    """

    summary: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def write_findings(paths: SweepPaths, preparation: Preparation) -> None:
    """Writes them; nothing for a trainable that reads no data."""
    if not preparation.summary and not preparation.warnings:
        return
    found = {
        "summary": dict(preparation.summary),
        "warnings": list(preparation.warnings),
        "details": dict(preparation.details),
    }
    write_atomically(paths.findings, json.dumps(found, indent=1, ensure_ascii=False, default=str).encode())


def read_findings(paths: SweepPaths) -> Findings:
    """Reads them: empty where there are none, as in a sweep of an earlier version, or where they are damaged."""
    try:
        found = json.loads(paths.findings.read_bytes())
        return Findings(found["summary"], tuple(found["warnings"]), found["details"])
    except (OSError, ValueError, KeyError, TypeError):
        return Findings()
