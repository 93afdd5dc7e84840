"""Sizes and durations as people read them. (`units` reads what people write.)"""

from __future__ import annotations


def size_text(num_bytes: float) -> str:
    """Bytes with three digits: `874 kB`, `94 MB`, `1.13 GB`."""
    number, unit = num_bytes, "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if abs(number) < 999.5:  # what is shown as 1,000 is one of the next unit
            break
        number, unit = number / 1000, larger
    return f"{number:.3g} {unit}"


def duration_text(seconds: float) -> str:
    """Seconds as they would be written: `2h`, `1h 30m`, `45s`."""
    if seconds < 10 and seconds != round(seconds):
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if number]
    return " ".join(parts) or "0s"
