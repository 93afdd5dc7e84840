"""What the card of a package says of the formats that it holds, as rows for tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.facts import STANDARD, LatencySetting
from trainables.formats import MAX_DROP

FORMATS_KEY = "formats"
LEFT_OUT_KEY = "formats_left_out"

COLUMNS = ("format", "file", "MB", "val", "drop on val", "same answers", "test", "ms for one", "ms for 32")


@dataclass(frozen=True)
class PackageFormats:
    """The formats of a package.

    Attributes:
        rows: one for each file, as `COLUMNS` names them.
        left_out: why a format is not there, by its name.
        measured_on: where latencies were measured.
        max_drop: how many percentage points on val a format was allowed to lose.
        trial: whose model it is; None: not known.
    """

    rows: tuple[tuple[str, ...], ...]
    left_out: Mapping[str, str]
    measured_on: str
    max_drop: float
    trial: int | None

    def lines(self) -> list[str]:
        """What was left out, in words."""
        return [f"{name} is left out: {why}" for name, why in self.left_out.items()]


def package_formats(package: Path) -> PackageFormats | None:
    """What the card says; None where there is no package, or one with the float file alone."""
    try:
        card = json.loads((package / "model.json").read_bytes())
    except (OSError, ValueError):
        return None
    formats, left_out = card.get(FORMATS_KEY, {}), card.get(LEFT_OUT_KEY, {})
    if not formats and not left_out:
        return None
    rows = tuple(_row(name, entry) for name, entry in formats.items())
    return PackageFormats(
        rows,
        dict(left_out),
        card.get("formats_measured_on", ""),
        card.get("formats_max_drop", MAX_DROP),
        card.get("origin", {}).get("trial"),
    )


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    judged = dict(entry["judged"])
    test = judged.pop("test", None)
    (chosen,) = judged.values()  # val, or what stands for it
    is_float = "recipe" not in entry
    return (
        name,
        entry["file"],
        f"{entry['bytes'] / 1e6:.2f}",
        chosen["score"],
        "" if is_float else chosen["drop"],
        "" if is_float else f"{chosen['num_agreeing']} of {chosen['num_examples']}",
        test["score"] if test else "",
        *(_took(entry["facts"], setting) for setting in (STANDARD[0], STANDARD[2])),
    )


def _took(facts: Mapping[str, float], setting: LatencySetting) -> str:
    """The median, and the 95th percentile in brackets; empty: not measured."""
    median, p95 = facts.get(setting.fact), facts.get(setting.p95_fact)
    return "" if median is None else f"{median:.4g}" + ("" if p95 is None else f" (p95 {p95:.4g})")
