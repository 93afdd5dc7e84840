"""The frame of a figure: its size, its axes, and paths that the page's script can tell apart by trial.

A mark's colour is its class: the page's style sheet has a palette for light, for dark and for print. A path holds the
marks of many trials, of which each begins with `M`; `data-trials` says whose they are, in this order. So a thousand
trials are a few elements, and the script lights up any of them by joining their parts into one more path.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from sweep_runner.report.charts.scales import Scale

CHAR = 6.6
"""Width of a letter at 12 pixels, about."""
LONGEST = 18
"""Letters of a label; longer ones lose their middle."""


@dataclass(frozen=True)
class Shown:
    """A figure of the report.

    Attributes:
        name: of its place in the page.
        title: above it.
        about: a sentence on how to read it.
        svg: the figure; what users have named is escaped in it.
        view: how the page's script finds the trial under the pointer: `points`, `lines`, `parallel`; empty: it shows no
            single trials.
        wide: whether it takes the page's whole width.
    """

    name: str
    title: str
    about: str
    svg: str
    view: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Frame:
    """Where the axes of a figure lie, in pixels.

    Attributes:
        x, y: the axes; y grows upwards.
        width, height: of the figure.
        left, right, top, bottom: margins.
        letters: that a label of the y axis may have.
    """

    x: Scale
    y: Scale
    width: float = 560
    height: float = 340
    left: float = 60
    right: float = 16
    top: float = 12
    bottom: float = 46
    letters: int = LONGEST

    def px(self, value: object) -> float:
        """Where a value is, from the left."""
        return self.left + self.x.at(value) * (self.width - self.left - self.right)

    def py(self, value: object) -> float:
        """Where a value is, from the top."""
        return self.height - self.bottom - self.y.at(value) * (self.height - self.top - self.bottom)

    def axes(self, x_title: str, y_title: str) -> str:
        """Grid, ticks and titles."""
        end_x, end_y = self.width - self.right, self.height - self.bottom
        parts = []
        for place, label in self.y.ticks:
            y = end_y - place * (end_y - self.top)
            parts.append(f'<path class="grid" d="M{num(self.left)} {num(y)}H{num(end_x)}"/>')
            parts.append(text(self.left - 7, y + 4, label, "tick end", longest=self.letters))
        room = (end_x - self.left) / max(1, len(self.x.ticks))
        lean = any(len(cut(label)) * CHAR > room for _, label in self.x.ticks)
        for place, label in self.x.ticks:
            x = self.left + place * (end_x - self.left)
            parts.append(f'<path class="grid" d="M{num(x)} {num(self.top)}V{num(end_y)}"/>')
            parts.append(text(x, end_y + 16, label, "tick lean" if lean else "tick mid", turned=-30 if lean else 0))
        middle = (self.left + end_x) / 2
        parts.append(text(middle, self.height - 6, x_title, "name mid"))
        if y_title:
            parts.append(text(13, (self.top + end_y) / 2, y_title, "name mid", turned=-90))
        parts.append(
            f'<path class="axis" d="M{num(self.left)} {num(self.top)}V{num(end_y)}H{num(end_x)}"/>',
        )
        return "".join(parts)


def left_margin(scale: Scale, titled: bool = True, letters: int = LONGEST) -> float:
    """What the labels of a y axis need."""
    return 16 + CHAR * max((len(cut(label, letters)) for _, label in scale.ticks), default=2) + (18 if titled else 0)


def framed(
    x: Scale,
    y: Scale,
    x_title: str,
    y_title: str,
    *,
    width: float = 560,
    height: float = 340,
    letters: int = LONGEST,
) -> Frame:
    """A frame whose margins fit the labels of its axes."""
    left = left_margin(y, bool(y_title), letters)
    room = (width - left - 16) / max(1, len(x.ticks))
    longest = max((len(cut(label)) for _, label in x.ticks), default=0) * CHAR
    lean = longest > room
    bottom = 28 + (18 if x_title else 0) + (longest * 0.5 if lean else 0)
    return Frame(x, y, width, height, left=max(left, longest * 0.6) if lean else left, bottom=bottom, letters=letters)


def svg(name: str, alt: str, width: float, height: float, parts: Iterable[str]) -> str:
    """The figure's element; `alt` is read out in its place."""
    return (
        f'<svg viewBox="0 0 {num(width)} {num(height)}" role="img" aria-label="{escape(alt)}" '
        f'data-width="{num(width)}" id="svg-{escape(name)}">{"".join(parts)}</svg>'
    )


def marks(paths: Sequence[tuple[str, Sequence[tuple[int, str]]]]) -> str:
    """The group of what can be lit up: for each class, trials and what is drawn of each (beginning with `M`)."""
    drawn = [
        f'<path class="{kind}" data-trials="{" ".join(str(trial) for trial, _ in own)}" '
        f'd="{"".join(path for _, path in own)}"/>'
        for kind, own in paths
        if own
    ]
    return f'<g class="marks">{"".join(drawn)}</g><g class="lit"></g>'


def dot(x: float, y: float) -> str:
    """A point: drawn by the round end of a line without length."""
    return f"M{num(x)} {num(y)}h0"


def cross(x: float, y: float) -> str:
    """A point of what was stopped."""
    return f"M{num(x)} {num(y)}m-3-3l6 6m0-6l-6 6"


def line(points: Sequence[tuple[float, float]]) -> str:
    """A line through points; a single one is a dot."""
    if len(points) == 1:
        return dot(*points[0])
    return "M" + " ".join(f"{num(x)} {num(y)}" for x, y in points)


def text(x: float, y: float, words: str, kind: str, turned: float = 0, longest: int = LONGEST) -> str:
    """A label; one that is cut is told in full to whoever points at it."""
    shown = words if "name" in kind.split() else cut(words, longest)
    full = f"<title>{escape(words)}</title>" if shown != words else ""
    turn = f' transform="rotate({num(turned)} {num(x)} {num(y)})"' if turned else ""
    return f'<text x="{num(x)}" y="{num(y)}" class="{kind}"{turn}>{escape(shown)}{full}</text>'


def cut(words: str, longest: int = LONGEST) -> str:
    """A label without its middle where it is long: names that begin alike differ at their ends."""
    tail = longest // 3
    return words if len(words) <= longest else f"{words[: longest - 1 - tail]}…{words[-tail:]}"


def num(value: float) -> str:
    """A place in pixels, to a tenth."""
    assert math.isfinite(value)
    return f"{value:.1f}".removesuffix(".0")


def legend(entries: Sequence[tuple[str, str, str]], x: float, y: float, width: float) -> str:
    """What the classes mean, in a line that breaks: class, kind of mark (`dot`, `cross`, `line`), words."""
    parts, place = [], x
    for kind, mark, words in entries:
        room = 26 + CHAR * len(cut(words, 30))
        if place + room > x + width and place > x:
            place, y = x, y + 17
        drawn = {"dot": dot(place + 8, y - 4), "cross": cross(place + 8, y - 4)}.get(
            mark, f"M{num(place)} {num(y - 4)}h16"
        )
        parts.append(f'<path class="{kind}" d="{drawn}"/>' + text(place + 22, y, words, "tick", longest=30))
        place += room + 12
    return "".join(parts)


def legend_height(entries: Sequence[tuple[str, str, str]], width: float) -> float:
    """How much room `legend` takes."""
    lines, place = 1, 0.0
    for _, _, words in entries:
        room = 26 + CHAR * len(cut(words, 30))
        if place + room > width and place > 0:
            lines, place = lines + 1, 0.0
        place += room + 12
    return 17.0 * lines + 4 if entries else 0.0
