"""Runs benchmarks and prints their table: `python -m benchmarks [NAME ...]`, all of them without a name."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import time
import traceback
from pathlib import Path

from benchmarks.harness import HEADER, machine

BENCHMARKS = (
    "cli_start",
    "listing",
    "trial_cost",
    "whole_job",
    "input_pipeline",
    "first_epoch",
    "decoding",
    "full_training",
    "head_only",
    "search_efficiency",
    "scaling",
    "two_workers",
    "short_trials",
    "two_nodes",
    "predict",
    "serve",
    "gpu_throughput",
)
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table: begin, written by make bench -->", "<!-- table: end -->"


def main(names: list[str], write: bool) -> None:
    """Measures, one after another. What fails is told at the end, and costs the others nothing."""
    failed = []
    for name in names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr)
        try:
            figures = importlib.import_module(f"benchmarks.{name}").measure()
        except Exception:  # noqa: BLE001 - an hour of others may stand behind it
            traceback.print_exc()
            failed.append(name)
            continue
        measured = f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[2]:.1f}"
        rows = [figure.row(measured) for figure in figures]
        print("\n".join([HEADER, *rows]), flush=True)
        if write:
            _write(name, rows)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _write(name: str, rows: list[str]) -> None:
    """Puts the rows of one benchmark into the table, in the place of those that it had; the others stay."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    found: dict[str, list[str]] = {each: [] for each in BENCHMARKS}
    for line in table.splitlines():
        if named := re.search(r"`python -m benchmarks (\w+)", line):
            found.setdefault(named[1], []).append(line)
    found[name] = rows
    lines = [machine(), "", HEADER, *(row for each in found.values() for row in each)]
    text = "\n".join([BEGIN, "", *lines, "", END])
    README.write_text(f"{before}{text}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    parser.add_argument(
        "--data", type=Path, help="real photos (train/<class>/, val/<class>/) instead of generated ones"
    )
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    if chosen.data is not None:
        os.environ["BENCH_DATA"] = str(chosen.data.absolute())
    main(chosen.names, chosen.write)
