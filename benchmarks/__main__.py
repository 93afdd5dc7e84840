"""Runs benchmarks and prints their table: `python -m benchmarks [NAME ...]`, all of them without a name."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from benchmarks.harness import HEADER, machine

BENCHMARKS = (
    "cli_start",
    "trial_cost",
    "whole_job",
    "input_pipeline",
    "first_epoch",
    "full_training",
    "head_only",
    "search_efficiency",
    "scaling",
    "two_workers",
    "short_trials",
    "two_nodes",
    "predict",
    "gpu_throughput",
)
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table: begin, written by make bench -->", "<!-- table: end -->"


def main(names: list[str], write: bool) -> None:
    rows = []
    for name in names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr)
        rows += [figure.row() for figure in importlib.import_module(f"benchmarks.{name}").measure()]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    found = "\n".join([f"{time.strftime('%Y-%m-%d')}, {machine()}, load at the end {load}", "", HEADER, *rows])
    print(found)
    if write:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        README.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{after}", encoding="utf-8")


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
