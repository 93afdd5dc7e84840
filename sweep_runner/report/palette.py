"""The colours of the pages, for light, dark and print, as CSS variables.

Series are those of Okabe and Ito (2008, "Color Universal Design"), which people with any kind of colour blindness can
tell apart, made darker on white and lighter on black until they have a contrast of 3 to their background (WCAG 2.2,
1.4.11); texts have 4.5 (1.4.3). Shades go from grey to one hue by lightness, which everybody sees.
"""

from __future__ import annotations

from collections.abc import Mapping

NUM_SHADES = 8
_ENDS = {
    "light": {"q": ("#8a929a", "#00345c"), "m": ("#e4eef6", "#00456f")},
    "dark": {"q": ("#66717b", "#c4e6ff"), "m": ("#22303b", "#8fd0fa")},
}
LIGHT = {
    "back": "#ffffff", "panel": "#f4f6f8", "text": "#1c2024", "soft": "#56606a", "line": "#d9dee3", "edge": "#7d8790",
    "mark": "#00639c", "star": "#9a4a00", "plain": "#3d82b0", "faint": "#868f97",
    "c0": "#b34d00", "c1": "#00795a", "c2": "#9c4a85", "c3": "#00639c", "c4": "#756300", "c5": "#3b4147",
}  # fmt: skip
DARK = {
    "back": "#14171a", "panel": "#1d2226", "text": "#e8ebee", "soft": "#a3adb6", "line": "#333a41", "edge": "#78828b",
    "mark": "#73bdea", "star": "#f2ab54", "plain": "#5a9ac4", "faint": "#737d86",
    "c0": "#f59445", "c1": "#35c597", "c2": "#e096c8", "c3": "#73bdea", "c4": "#e3d25a", "c5": "#e8ebee",
}  # fmt: skip
NAMED = {"light": LIGHT, "dark": DARK}


def colors(theme: str) -> dict[str, str]:
    """Every colour of a theme by its name, `#rrggbb`; `on0` and so on are of text on the shade `m0`."""
    found = dict(NAMED[theme])
    for kind, ends in _ENDS[theme].items():
        found |= {f"{kind}{k}": _between(*ends, k / (NUM_SHADES - 1)) for k in range(NUM_SHADES)}
    for k in range(NUM_SHADES):
        shade = found[f"m{k}"]
        found[f"on{k}"] = max(("#000000", "#ffffff"), key=lambda one: contrast(one, shade))
    return found


def css() -> str:
    """The variables: those of the system's theme, or of the one that the page's button has set; of print, light."""
    light, dark = (_variables(colors(theme)) for theme in ("light", "dark"))
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {dark} }} }}\n"
        f':root[data-theme="light"] {{ color-scheme: light; {light} }}\n'
        f':root[data-theme="dark"] {{ color-scheme: dark; {dark} }}\n'
        f"@media print {{ :root, :root[data-theme] {{ color-scheme: light; {light} }} }}\n"
    )


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _variables(found: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in found.items())


def _between(first: str, last: str, share: float) -> str:
    pairs = zip(_parts(first), _parts(last), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _parts(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in _parts(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
