"""What a model's final evaluation says: confusion matrix, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from sweep_runner.report.charts.plot import CHAR, Shown, cut, framed, num, svg, text
from sweep_runner.report.charts.progress import with_legend
from sweep_runner.report.charts.scales import linear
from sweep_runner.report.plot_data import Confusion

MAX_COUNTS = 20
"""Classes up to which the cells have their count written into them."""
NUM_SHADES = 8
_LABELLED = 60
"""Classes up to which each has its name."""


def confusion(found: Confusion, trial: int | None = None) -> Shown | None:
    """The confusion matrix as shares of the actual class, with counts.

    Args:
        found: of a final evaluation.
        trial: whose it is, for a figure of its own beside those of others.
    """
    if found.matrix is None:
        return None
    names, number = found.classes, len(found.classes)
    side = max(6.0, min(46.0, 440 / number))
    every = -(-number // _LABELLED)
    longest = max(len(cut(name)) for name in names) * CHAR
    left, top = 40 + longest, 14.0
    labelled = side * every >= 9
    size = min(12.0, side * every * 0.9)
    lean = longest > side
    below = (longest * 0.75 if lean else 14) + 34
    width, height = max(left + side * number + 20, 320.0), top + side * number + below
    totals = found.matrix.sum(axis=1)
    parts = []
    cells: dict[int, list[str]] = {}
    for row in range(number):
        for column in range(number):
            count = int(found.matrix[row, column])
            x, y = left + side * column, top + side * row
            if not count:
                continue
            share = count / max(1, int(totals[row]))
            shade = min(NUM_SHADES - 1, int(share * NUM_SHADES))
            if number > _LABELLED:  # an element for each of a million cells would be no page that opens
                cells.setdefault(shade, []).append(f"M{num(x)} {num(y)}h{num(side)}v{num(side)}h-{num(side)}z")
                continue
            told = f"actual {names[row]}, predicted {names[column]}: {count} of {int(totals[row])} ({share:.0%})"
            parts.append(
                f'<rect class="m{shade}" x="{num(x)}" y="{num(y)}" width="{num(side)}" height="{num(side)}">'
                f"<title>{escape(told)}</title></rect>"
            )
            if number <= MAX_COUNTS:
                parts.append(text(x + side / 2, y + side / 2 + 4, str(count), f"tick mid on{shade}"))
    parts += [f'<path class="m{shade}" d="{"".join(own)}"/>' for shade, own in cells.items()]
    end = side * number
    lines = "".join(f"M{num(left)} {num(top + side * k)}h{num(end)}" for k in range(0, number + 1, every)) + "".join(
        f"M{num(left + side * k)} {num(top)}v{num(end)}" for k in range(0, number + 1, every)
    )
    parts.append(f'<path class="grid" d="{lines}"/>')
    for k, name in enumerate(names):
        if labelled and k % every == 0:
            middle = side * (k + 0.5)
            style = f' style="font-size:{num(size)}px"' if size < 12 else ""
            for label in (
                text(left - 6, top + middle + 4, name, "tick end"),
                text(
                    left + middle, top + end + 14, name, "tick lean" if lean else "tick mid", turned=-45 if lean else 0
                ),
            ):
                parts.append(label.replace("<text ", f"<text{style} ", 1))
    parts.append(text(left + end / 2, height - 6, "predicted", "name mid"))
    parts.append(text(13, top + end / 2, "actual", "name mid", turned=-90))
    right = int(found.matrix.trace())
    alt = f"Confusion matrix of {found.title} on {found.split}: {right} of {int(totals.sum())} on the diagonal"
    name = f"confusion-{found.split}" + ("" if trial is None else f"-{trial}")
    about = "Rows are actual classes, columns predicted classes; the shade is the share of the row."
    if every > 1:
        about += f" Every {every}th class is named; `sweep query` has every cell in the table confusions."
    return Shown(name, "Confusion matrix", about, svg(name, alt, width, height, parts))


def calibration(bins: Sequence[Mapping[str, float]], split: str) -> Shown | None:
    """How often the model is right where it says how sure it is."""
    if not bins:
        return None
    share = linear([0.0, 1.0], wanted=6)
    frame = framed(share, share, "confidence", "accuracy", width=460, height=400)
    spots = [(frame.px(each["confidence"]), frame.py(each["accuracy"])) for each in bins]
    joined = "M" + " ".join(f"{num(x)} {num(y)}" for x, y in spots)
    dots = [
        f'<path class="dot full" d="M{num(x)} {num(y)}h0"><title>confidence {each["confidence"]:.1%}, accuracy '
        f"{each['accuracy']:.1%} ({int(each['count'])} examples)</title></path>"
        for (x, y), each in zip(spots, bins, strict=True)
    ]
    perfect = f"M{num(frame.px(0))} {num(frame.py(0))}L{num(frame.px(1))} {num(frame.py(1))}"
    content = [
        frame.axes("confidence", "accuracy"), f'<path class="line dotted" d="{perfect}"/>',
        f'<path class="line strong" d="{joined}"/>', *dots,
    ]  # fmt: skip
    about = "Below the dotted line the model is overconfident, above it underconfident."
    told = "; ".join(f"{each['confidence']:.2f}: {each['accuracy']:.2f}" for each in bins)
    entries = [("line dotted", "line", "perfect"), ("line strong", "line", "model")]
    name = f"calibration-{split}"
    drawn = with_legend(
        name, f"Calibration, confidence and accuracy: {told}", frame.width, frame.height, content, entries
    )
    return Shown(name, "Calibration", about, drawn)
