"""What a package says of its temperature (`export.temperature`), in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def scaling_words(told: Mapping[str, Any]) -> str:
    """One line: the temperature, and what it did on each split that the model was evaluated on.

    Args:
        told: as `sweep_runner.execution.evaluation.scaling.scaling` gives it.
    """
    if "value" not in told:
        return f"no temperature: {told['why_not']}"
    effects = [
        f"on {split} calibration error {error[1]:.4f} ({error[0]:.4f} without it), log loss {loss[1]:.4f} "
        f"({loss[0]:.4f})"
        for split in ("val", "test")
        if (error := told.get(f"{split}_calibration_error")) and (loss := told.get(f"{split}_log_loss"))
    ]
    return (
        f"temperature {told['value']:.3g} in the published model, fitted on {told['num_examples']:,} val examples: "
        f"{'; '.join(effects)}"
    )


def package_temperature(package: Path) -> Mapping[str, Any] | None:
    """What the card of a package says of it; None where it was not asked for, or there is no package."""
    try:
        card = json.loads((package / "model.json").read_bytes())
    except (OSError, ValueError):
        return None
    told = card.get("origin", {}).get("temperature")
    return told if isinstance(told, dict) and told else None
