"""Finding a sweep by the name that the user gave. Light: reads no table."""

from __future__ import annotations

import difflib
from pathlib import Path

from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths, SweepPaths


def find_sweep(results: ResultsPaths, name: str) -> SweepPaths:
    """The sweep of this name.

    Raises:
        RequestError: there is none; names the nearest, or those that exist.
    """
    sweeps = {paths.name: paths for paths in results.sweeps()}
    if name in sweeps:
        return sweeps[name]
    if not sweeps:
        raise RequestError(
            f"no sweeps in {results.shown}",
            hint="run one (`sweep run FILE`), or choose another folder with --results",
        )
    near = difflib.get_close_matches(name, sweeps, n=1)
    shown = list(sweeps)[:10]
    others = ", ".join(shown) + (f" and {len(sweeps) - len(shown)} more" if len(sweeps) > len(shown) else "")
    hint = f"did you mean {near[0]!r}?" if near else f"sweeps there: {others}"
    raise RequestError(f"no sweep {name!r} in {results.shown}", hint=hint)


def spec_file(paths: SweepPaths) -> Path:
    """The resolved sweep file of a sweep that is there.

    Raises:
        RequestError: the file was removed; says how to go on.
    """
    if not paths.spec.is_file():
        raise RequestError(
            f"{paths.spec} is missing; it defines the search. The sweep's log, study and tables exist",
            hint=f"restore it from a backup, or run the file that the sweep came from again (sweep run FILE, "
            f"with name: {paths.name}): it continues with the existing trials, if it is the same search",
        )
    return paths.spec
