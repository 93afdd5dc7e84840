"""Measures an exported package (parameters, bytes, milliseconds), and writes that into its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.facts import NUM_FLOPS, NUM_PARAMETERS, ONNX_BYTES, settings_of
from trainables.image.deployment.latency import latency_facts, runtime_name
from trainables.image.deployment.model_card import README_FILE, model_card
from trainables.image.package import CARD_FILE, ONNX_FILE


def measure_package(package: Path, facts: Sequence[str]) -> Mapping[str, float]:
    """The facts of a package that can be had; of one without ONNX only the parameters.

    Args:
        package: its folder.
        facts: the names that are wanted.
    """
    card = _read_card(package)
    found: dict[str, float] = {name: card[name] for name in (NUM_PARAMETERS, NUM_FLOPS) if name in card}
    file = package / ONNX_FILE
    if file.is_file():
        found[ONNX_BYTES] = file.stat().st_size
        if settings := settings_of(facts):
            found |= latency_facts(file, settings)
    return found


def note_facts(package: Path, facts: Mapping[str, float], machine: str) -> None:
    """Writes measured facts into the package's `model.json` and its `README.md`.

    Args:
        package: its folder, not published yet.
        facts: by name.
        machine: on which they were measured, in words.
    """
    card = _read_card(package)
    card["measured"] = {"on": f"{machine}, {runtime_name()}", "facts": dict(facts)}
    (package / CARD_FILE).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (package / README_FILE).write_text(model_card(card), encoding="utf-8")


def _read_card(package: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((package / CARD_FILE).read_text(encoding="utf-8"))
    return card
