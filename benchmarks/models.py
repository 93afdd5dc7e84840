"""Every model of timm, the whole way: check, training, a stop, checkpoint, ONNX, agreement. Kept as a table.

    python -m benchmarks.models prove --until 03:50     # go on where the last run ended
    python -m benchmarks.models write                   # docs/models.md from the table

Names are taken a module at a time, the smallest first, so that a run that ends early has seen every family. Several
names share a process; it has limits of memory and time, so that one net cannot end the run: the net that did is
noted, and the next process goes on after it.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "trainables" / "image" / "models" / "survey.csv"
NAMES_PER_PROCESS = 12
SECONDS_PER_NAME = 600
MOST_BYTES = 10 * 1024**3
_SIZES = (
    "zepto", "atto", "xxnano", "femto", "pico", "nano", "xxs", "xx_small", "xxtiny", "xtiny", "tiny", "xs", "x_small",
    "mini", "small", "medium", "base",
)  # fmt: skip
_LARGE = ["large", "huge", "giant", "gigantic", "enormous", "xxlarge", "xlarge"]


def ordered_names(pattern: str = "*") -> list[str]:
    """The smallest name of every module of timm, then the second smallest of each, and so on."""
    import timm
    from timm.models._registry import _model_to_module

    modules: dict[str, list[str]] = {}
    for name in timm.list_models(pattern):
        modules.setdefault(_model_to_module[name], []).append(name)
    for names in modules.values():
        names.sort(key=_about_size)
    longest = max(map(len, modules.values()))
    return [names[turn] for turn in range(longest) for names in modules.values() if turn < len(names)]


def _about_size(name: str) -> tuple[float, int, str]:
    """By words of the name: counting the parameters of all models takes half an hour."""
    large = 30.0 * sum(word in name for word in _LARGE)
    small = next((number for number, word in enumerate(_SIZES) if word in name), len(_SIZES) // 2 + 4)
    if letter := re.search(r"_([tsml])(?=\d|_|$)", name):  # gernet_s, efficientnetv2_l
        small = {"t": 5, "s": 8, "m": 15, "l": 25}[letter[1]]
    numbers = [float(digits) for digits in re.findall(r"\d+", name)]
    return large + small + min(numbers[:1] or [0.0]) / 200, len(name), name


def read_table(path: Path = TABLE) -> dict[str, dict[str, str]]:
    """The rows so far, by name."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def append(row: dict[str, Any], path: Path = TABLE) -> None:
    """One more row; the columns are those of `Row` in `benchmarks.models_way`."""
    from benchmarks.models_way import COLUMNS

    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def prove(names: list[str], until: float, path: Path = TABLE) -> None:
    """Runs names that have no row yet, until a time (seconds since the epoch)."""
    todo = [name for name in names if name not in read_table(path)]
    while todo and time.time() < until:
        some = todo[:NAMES_PER_PROCESS]
        with tempfile.TemporaryFile() as errors:
            command = [sys.executable, "-m", "benchmarks.models", "some", *some, "--until", str(until)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            reason = _follow(child, path)
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        done = read_table(path)
        left = [name for name in some if name not in done]
        if left and time.time() < until:
            what = reason or f"its process ended with {child.returncode}: {said[-1] if said else 'nothing said'}"
            append({"name": left[0], "outcome": "failed", "reason": what}, path)
        todo = [name for name in todo if name not in read_table(path)]
        print(f"{len(read_table(path))} names done, {len(todo)} to do", flush=True)


def _follow(child: subprocess.Popen[str], path: Path) -> str:
    """Adds the rows of a process; ends it when a name takes too long, and says so."""
    import select

    assert child.stdout is not None
    while True:
        ready, _, _ = select.select([child.stdout], [], [], SECONDS_PER_NAME)
        if not ready:
            child.kill()
            child.wait()
            return f"it took more than {SECONDS_PER_NAME} s"
        line = child.stdout.readline()
        if not line:
            child.wait()
            return ""
        if line.startswith("{"):
            append(json.loads(line), path)


def some(names: list[str], until: float) -> Iterator[dict[str, Any]]:
    """The rows of several names, in this process."""
    from benchmarks.models_way import whole_way

    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    for name in names:
        if time.time() > until:
            return
        yield whole_way(name)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models")
    parser.add_argument("what", choices=["prove", "some", "write"])
    parser.add_argument("names", nargs="*", help="Names, or patterns; all of timm's without any.")
    parser.add_argument("--until", default="23:59", help="When to end, as HH:MM.")
    parser.add_argument("--table", type=Path, default=TABLE)
    given = parser.parse_args()
    if given.what == "some":
        for row in some(given.names, float(given.until)):
            print(json.dumps(row), flush=True)
        return
    if given.what == "write":
        from benchmarks.models_page import write_page

        write_page(read_table(given.table))
        return
    hour, minute = map(int, given.until.split(":"))
    until = datetime.now().replace(hour=hour, minute=minute, second=0).timestamp()
    patterns = given.names or ["*"]
    prove([name for pattern in patterns for name in ordered_names(pattern)], until, given.table)


if __name__ == "__main__":
    main()
