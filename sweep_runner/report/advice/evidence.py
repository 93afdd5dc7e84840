"""What the rules look at: the tables of one sweep, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from sweep_runner.report.facts import predictions
from sweep_runner.report.plot_data import Curve, read_curves
from sweep_runner.results.findings import Findings, read_findings
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.tables import Warn
from sweep_runner.spec.model import SweepSpec


@dataclass(frozen=True)
class Advice:
    """One thing to do next.

    Attributes:
        rule: which rule it comes from.
        evidence: what was seen, with its figures.
        action: what to do about it.
        command: that does it, or with which to begin; empty where none does.
    """

    rule: str
    evidence: str
    action: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.evidence}: {self.action}"


@dataclass(frozen=True)
class Evidence:
    """What is on record of a sweep.

    Attributes:
        board: its leaderboard, with at least one trial that has a value.
        spec: its file; None when it is lost.
        curves: trial → what it reported.
        on_val: the best trial's predictions on val; None where it was not evaluated. Test is for no advice.
        name: of the sweep.
        file: its sweep file, as a command has it.
        where: `--results DIR` as a command has it, with a blank in front; or empty.
        found: what was found in the data.
    """

    board: Leaderboard
    spec: SweepSpec | None
    curves: Mapping[int, Curve]
    on_val: pa.Table | None
    name: str
    file: str
    where: str = ""
    found: Findings = field(default_factory=Findings)

    @property
    def best(self) -> TrialRow:
        return self.board.ranked[0]

    @property
    def ranked(self) -> Sequence[TrialRow]:
        """Best first."""
        return self.board.ranked

    def extend(self, *settings: str, trials: int = 10) -> str:
        """The command that gives the sweep more trials with other settings."""
        sets = "".join(f" --set {setting}" for setting in settings)
        return f"sweep extend {self.name} --trials {trials}{sets}{self.where}"


def read_evidence(board: Leaderboard, paths: SweepPaths, spec: SweepSpec | None, warn: Warn) -> Evidence | None:
    """Reads it; None where no trial has a value yet."""
    if not board.ranked:
        return None
    words = paths.command("explain").split(" ")
    return Evidence(
        board=board,
        spec=spec,
        curves={curve.trial: curve for curve in read_curves(paths, board.ranked, warn, board.objective)},
        on_val=predictions(paths, board.ranked[0].trial, "val", warn),
        name=words[2],
        file=str(paths.spec),
        where="".join(f" {word}" for word in words[3:]),
        found=read_findings(paths),
    )
