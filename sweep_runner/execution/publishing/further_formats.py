"""What a sweep's package is to hold beside the model as it was trained: `export.formats`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweep_runner.execution.build import build
from sweep_runner.results.package_formats import FORMATS_KEY, LEFT_OUT_KEY
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import TrialSummary
from sweep_runner.spec.model import Export
from sweep_runner.spec.plan import Plan
from trainables.cpus import num_cpus
from trainables.facts import standard_facts
from trainables.formats import FormatName, FormatsWanted, further_formats
from trainables.own_modules import find_own_modules, folders_of_own_modules


def formats_wanted(
    export: Export, facts: Mapping[str, str], *, test: bool, names: Sequence[FormatName] | None = None
) -> Mapping[str, Any]:
    """The fields of a `FormatsWanted`; empty: nothing is wanted beside the model itself.

    Args:
        export: of the sweep file.
        facts: of the trainable.
        test: whether this is the model that the sweep publishes.
        names: the formats, where they are not those of the sweep file.
    """
    wanted = further_formats(export.formats) if names is None else names
    if not wanted:
        return {}
    latency = tuple(fact for fact in standard_facts(facts) if fact.endswith("_ms")) if export.latency else ()
    only_faster = tuple(name for name in wanted if name not in export.formats) if names is None else ()
    return asdict(FormatsWanted(tuple(wanted), export.max_drop, only_faster, test, latency))


def add_to_package(
    plan: Plan, paths: SweepPaths, summary: TrialSummary, package: Path, wanted: Mapping[str, Any]
) -> Sequence[str]:
    """Adds formats to a copy of the published package, in this process.

    Args:
        plan: the sweep.
        paths: of its folder.
        summary: of the trial whose model it is.
        package: the copy.
        wanted: as `formats_wanted` gives it.

    Returns:
        What came of each, in words.
    """
    spec = plan.spec
    find_own_modules(folders_of_own_modules(spec.trainable, spec.data))
    trainable, config = build(spec.trainable, spec.data, str(paths.data), spec.config_of(summary.params))
    return trainable.add_formats(config, package, FormatsWanted(**wanted), num_cpus())


def formats_due(export: Export, package: Path) -> bool:
    """Whether the published package says nothing yet of a format that is wanted: the sweep file was changed since."""
    wanted = further_formats(export.formats)
    if not wanted:
        return False
    try:
        card = json.loads((package / "model.json").read_bytes())
    except (OSError, ValueError):
        return False  # no package of ours: then it is to be published anyway
    return not set(wanted) <= {*card.get(FORMATS_KEY, {}), *card.get(LEFT_OUT_KEY, {})}
