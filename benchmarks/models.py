"""Every model of timm, the whole way: check, training, a stop, checkpoint, ONNX, agreement. Kept as a table.

    python -m benchmarks.models count                   # the parameters of every name: some minutes
    python -m benchmarks.models prove --until 03:50     # go on where the last run ended
    python -m benchmarks.models features                # stored features of names that had none
    python -m benchmarks.models write                   # docs/models.md from the table

Names are taken a module at a time, the smallest first, so that a run that ends early has seen every family. Several
names share a process, since its imports take as long as half a name; it has limits of memory and CPU time, so that
one net cannot end the run: the net that did is noted, and the next process goes on after it.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "trainables" / "image" / "models" / "survey.csv"
NAMES_PER_PROCESS = 20
CPU_SECONDS_PER_NAME = 600
"""Of the processor, not of the clock: on a busy machine a name is not worse for what else runs there."""
MOST_BYTES = 10 * 1024**3
_LARGE = 150e6
"""Parameters of names that come last: one of these takes the time of a dozen others."""


def ordered_names(rows: Mapping[str, Mapping[str, str]], patterns: Sequence[str] = ("*",)) -> list[str]:
    """The order in which names are taken, of those that fit a pattern.

    First the two smallest names of every module of timm, then the smaller before the larger ones; those of more than
    `_LARGE` parameters at the end.

    Args:
        rows: of the table, which has each name's parameters.
        patterns: as in a shell.
    """
    import timm
    from timm.models._registry import _model_to_module

    def parameters(name: str) -> float:
        return float(rows.get(name, {}).get("parameters") or "inf")

    modules: dict[str, list[str]] = {}
    for name in sorted({name for pattern in patterns for name in timm.list_models(pattern)}, key=parameters):
        modules.setdefault(_model_to_module[name], []).append(name)
    first = {name for names in modules.values() for name in names[:2]}
    everyone = [name for names in modules.values() for name in names]
    return sorted(everyone, key=lambda name: (parameters(name) > _LARGE, name not in first, parameters(name)))


def read_table(path: Path = TABLE) -> dict[str, dict[str, str]]:
    """The rows so far, by name; one without an outcome was counted, and not taken."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def taken(path: Path) -> dict[str, dict[str, str]]:
    """The rows of names that went the whole way, or did not get through."""
    return {name: row for name, row in read_table(path).items() if row["outcome"]}


def write_row(row: Mapping[str, Any], path: Path = TABLE) -> None:
    """Puts a row into the table, in the place of what was known of the name."""
    rows: dict[str, Mapping[str, Any]] = {**read_table(path)}
    rows[row["name"]] = {**rows.get(row["name"], {}), **row}
    write_table(rows, path)


def write_table(rows: Mapping[str, Mapping[str, Any]], path: Path = TABLE) -> None:
    """The table by name; the columns are those of `benchmarks.models_way`."""
    from benchmarks.models_way import COLUMNS

    new = path.with_suffix(".new")
    with new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
    new.replace(path)


def count(path: Path = TABLE) -> None:
    """Counts the parameters of every name of timm, without memory: some minutes. Completes rows of earlier surveys."""
    import timm

    from benchmarks.models_way import counted, finetuning, without_memory
    from trainables.image.models.table import OWN_NETS, TORCHVISION_NETS

    known = read_table(path)
    for name in timm.list_models(exclude_filters=[*OWN_NETS, *TORCHVISION_NETS]):
        if not known.get(name, {}).get("parameters") and not known.get(name, {}).get("outcome"):
            write_row(counted(name), path)
    for name, row in read_table(path).items():
        if row["poolings"] and not row["kept_mib"]:
            write_row({"name": name, **without_memory(name, int(row["usual_resolution"]))}, path)
        if row["outcome"] == "right" and not row.get("finetune"):
            write_row({"name": name, "finetune": finetuning(name)}, path)


def try_features(path: Path = TABLE) -> None:
    """Tries again whether head-only trials can share stored features, of names that went the whole way without."""
    from benchmarks.models_data import Pictures
    from benchmarks.models_way import trained_size

    for name, row in taken(path).items():
        if row["stored_features"] not in ("", "yes"):
            size = trained_size(name, int(row["usual_resolution"]))
            with tempfile.TemporaryDirectory() as folder:
                found = Pictures(size).features(name, size, folder)
            write_row({"name": name, "stored_features": found}, path)
            print(f"{name}: {found}", flush=True)


def prove(names: list[str], until: float, path: Path = TABLE) -> None:
    """Runs names that have no row yet, until a time (seconds since the epoch)."""
    todo = [name for name in names if name not in taken(path)]
    while todo and time.time() < until:
        some = todo[:NAMES_PER_PROCESS]
        with tempfile.TemporaryFile() as errors:
            command = [sys.executable, "-m", "benchmarks.models", "some", *some, "--until", str(until)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("{"):
                    write_row(json.loads(line), path)
            child.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        done = taken(path)
        left = [name for name in some if name not in done]
        if left and child.returncode != 0 and time.time() < until:
            what = f"its process ended with {child.returncode}: {said[-1] if said else 'nothing said'}"
            if child.returncode == -signal.SIGXCPU:
                what = f"it took more than {CPU_SECONDS_PER_NAME} CPU seconds"
            write_row({"name": left[0], "outcome": "failed", "reason": what}, path)
        todo = [name for name in todo if name not in taken(path)]
        print(f"{len(taken(path))} names done, {len(todo)} to do", flush=True)


def some(names: list[str], until: float) -> Iterator[dict[str, Any]]:
    """The rows of several names, in this process; it ends early where memory does, so that a new one tries again."""
    from benchmarks.models_way import whole_way

    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    # What was imported stays: without these objects a collection takes a tenth of the time, and one per name will do.
    gc.collect()
    gc.freeze()
    gc.disable()
    for name in names:
        if time.time() > until:
            return
        used = int(time.process_time()) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS_PER_NAME, resource.RLIM_INFINITY))
        row = whole_way(name)
        gc.collect()
        if row["outcome"] == "infeasible" and name != names[0]:
            return
        yield row


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models")
    parser.add_argument("what", choices=["count", "prove", "some", "features", "write"])
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
    if given.what == "features":
        try_features(given.table)
        return
    if given.what == "count":
        count(given.table)
        return
    hour, minute = map(int, given.until.split(":"))
    until = datetime.now().replace(hour=hour, minute=minute, second=0).timestamp()
    prove(ordered_names(read_table(given.table), given.names or ["*"]), until, given.table)


if __name__ == "__main__":
    main()
