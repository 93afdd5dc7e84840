"""Runs benchmarks and prints their table: `python -m benchmarks [NAME ...]`, all of them without a name."""

from __future__ import annotations

import importlib
import sys
import time

from benchmarks.harness import HEADER, machine

BENCHMARKS = ("cli_start", "trial_cost")


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    rows = []
    for name in names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr)
        rows += [figure.row() for figure in importlib.import_module(f"benchmarks.{name}").measure()]
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}\n\n{HEADER}")
    print("\n".join(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
