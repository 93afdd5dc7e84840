"""Every path under the results folder, in one place."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TABLES = ("sweeps", "trials", "epochs", "predictions", "classes", "confusions", "candidates")
ADDRESS_FILE = ".address.json"
"""In a results folder that is the working copy of remote results: of which."""
LEASE_FILE = "lease.json"
"""In a sweep's folder of such a copy, and beside the sweep's objects: who writes the sweep."""


@dataclass(frozen=True)
class SweepPaths:
    """Where things of one sweep are.

    Attributes:
        root: the sweep's folder, `results/<sweep>`, absolute.
    """

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def is_copy(self) -> bool:
        """Whether this is the working copy of a sweep in remote results."""
        return remote_url(self.root.parent) is not None

    def command(self, verb: str, *more: str) -> str:
        """A `sweep` command on this sweep, as a user here can copy and run it: `sweep resume NAME --results DIR`."""
        return " ".join(["sweep", verb, shlex.quote(self.name), *more, *results_option(self.root.parent)])

    @property
    def spec(self) -> Path:
        """The sweep file, resolved, as run."""
        return self.root / "sweep.yaml"

    @property
    def environment(self) -> Path:
        """Versions, git commit, hardware and command, as JSON."""
        return self.root / "environment.json"

    @property
    def requirements(self) -> Path:
        """What was installed at the last run, for `pip install -r`."""
        return self.root / "requirements.txt"

    @property
    def study(self) -> Path:
        """Optuna's journal storage."""
        return self.root / "study.journal"

    @property
    def log(self) -> Path:
        """The durable log (JSON lines) that the tables are written from."""
        return self.root / "log.jsonl"

    @property
    def lock(self) -> Path:
        """Held (flock) by the one process that writes; says which."""
        return self.root / "lock"

    @property
    def data(self) -> Path:
        """What the trainable prepared for its trials."""
        return self.root / "data"

    @property
    def findings(self) -> Path:
        """What was found in the data: counts, what was left out, near-duplicates, warnings; JSON."""
        return self.root / "data.json"

    @property
    def preflight(self) -> Path:
        """Markers by which a cluster's nodes show that they share this folder; there for seconds."""
        return self.root / ".preflight"

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    def table(self, table: str) -> Path:
        """The folder of one table's Parquet parts."""
        assert table in TABLES, table
        return self.tables / table

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    def trial(self, number: int) -> Path:
        return self.trials / str(number)

    def attempt(self, number: int, attempt: int) -> Path:
        """Where one attempt of a trial writes, and no other."""
        return self.trial(number) / f"attempt-{attempt}"

    def refit(self, number: int, epochs: int) -> Path:
        """Where a trial's model is trained anew on train and val, for so many epochs."""
        return self.trial(number) / "refit" / f"epochs-{epochs}"

    @property
    def best(self) -> Path:
        """The published model package."""
        return self.root / "best"

    def export(self, model: int | str) -> Path:
        """The model package of a trial that was exported on request; by its name, of a soup or an ensemble."""
        return self.root / "exports" / (model if isinstance(model, str) else f"trial-{model}")

    def candidate(self, name: str) -> Path:
        """Where what is made of several trials has its checkpoint and its evaluations: `soup`, `ensemble`."""
        return self.root / "candidates" / name

    def candidate_predictions(self, name: str, split: str) -> Path:
        """What such a model said on a split."""
        return self.candidate(name) / f"predictions-{split}.parquet"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def comparison(self, others: Sequence[str]) -> Path:
        """The page that compares this sweep with others."""
        return self.root / f"compared-with-{'-'.join(others)}.html"

    @property
    def looks_at_test(self) -> Path:
        """Notes of models that `sweep evaluate` judged on the sweep's test split, a file each."""
        return self.root / "looks-at-test"

    @property
    def annotations(self) -> Path:
        """Stars and notes of trials, a file each."""
        return self.root / "annotations"

    @property
    def plots(self) -> Path:
        """The figures that `sweep plots` draws."""
        return self.root / "plots"

    @property
    def metrics_target(self) -> Path:
        """Tells Prometheus where the running sweep is; not there when it does not run."""
        return ResultsPaths(self.root.parent).metrics / f"{self.name}.json"


def results_option(root: Path) -> tuple[str, ...]:
    """`--results DIR` as words of a command; none where the command would look in `root` by itself."""
    usual = os.environ.get("SWEEP_RESULTS") or "results"
    if (url := remote_url(root)) is not None:
        return () if url == usual.rstrip("/") else ("--results", shlex.quote(url))
    if root == Path(usual).expanduser().absolute():
        return ()
    here = Path.cwd()
    return ("--results", shlex.quote(str(root.relative_to(here) if root.is_relative_to(here) else root)))


def remote_url(root: Path) -> str | None:
    """The address that a results folder is the working copy of, `s3://bucket/prefix`; None for a folder of its own."""
    try:
        return str(json.loads((root / ADDRESS_FILE).read_bytes())["url"])
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class ResultsPaths:
    """The folder that holds all sweeps.

    Attributes:
        root: `results/`, absolute.
    """

    root: Path

    @property
    def metrics(self) -> Path:
        """A file for each running sweep, beside the sweeps and not in them: Prometheus wants all in one folder."""
        return self.root / ".metrics"

    @property
    def shown(self) -> str:
        """As the user names it: the folder, or the address that it is the working copy of."""
        return remote_url(self.root) or str(self.root)

    def sweep(self, name: str) -> SweepPaths:
        return SweepPaths(self.root / name)

    def sweeps(self) -> Iterator[SweepPaths]:
        """Every sweep there, by name; also one whose sweep file was lost, because its tables can be read."""
        if not self.root.is_dir():
            return
        for folder in sorted(self.root.iterdir()):
            paths = SweepPaths(folder)
            if paths.spec.is_file() or paths.log.is_file():
                yield paths
