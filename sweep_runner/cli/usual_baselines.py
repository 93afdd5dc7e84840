"""Writes the usual recipe of each network into a new sweep file, as baselines."""

from __future__ import annotations

import json
import re

from sweep_runner.spec.model import SweepSpec

_BEFORE = "objective:"


def with_usual_baselines(text: str, spec: SweepSpec) -> str:
    """The sweep file with a baseline for each network (for a third of the trials at most), in front of its objective.

    Args:
        text: of the file, without baselines.
        spec: what it says.
    """
    from sweep_runner.search.prior import usual_recipes
    from trainables.loading import load_trainable

    recipes = usual_recipes(spec, load_trainable(spec.trainable))[: max(1, spec.search.trials // 3)]
    if not recipes:
        return text
    lines = ["baselines:                            # what is usual for each network runs first, to its end"]
    for recipe in recipes:
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"usual-{recipe.get('model', 'values')}")
        values = ", ".join(f"{key}: {json.dumps(value)}" for key, value in recipe.items())
        lines.append(f"  {name}: {{{values}}}")
    return text.replace(f"\n{_BEFORE}", "\n" + "\n".join(lines) + f"\n{_BEFORE}", 1)
