"""What a figure of the report shows, read from its SVG."""

from __future__ import annotations

import re
from html import unescape

from sweep_runner.report.charts.plot import Shown

Points = list[tuple[float, float]]


def marks(shown: Shown) -> dict[str, dict[int, Points]]:
    """Class → trial → its points in pixels: what lies higher has a smaller y."""
    found: dict[str, dict[int, Points]] = {}
    for kind, trials, path in re.findall(r'<path class="([^"]+)" data-trials="([^"]*)" d="([^"]*)"', shown.svg):
        for trial, part in zip(trials.split(), path.split("M")[1:], strict=True):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", re.split("[a-z]", part)[0])]
            found.setdefault(kind, {})[int(trial)] = list(zip(numbers[::2], numbers[1::2], strict=True))
    return found


def points(shown: Shown) -> dict[int, Points]:
    """Trial → its points, whatever their class."""
    return {trial: spots for group in marks(shown).values() for trial, spots in group.items()}


def labels(shown: Shown) -> list[str]:
    """Every text, in the order of the file."""
    return [unescape(text) for text in re.findall(r"<text [^>]*>([^<]*)", shown.svg)]
