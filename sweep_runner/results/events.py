"""What the durable log holds: one frozen record per line, in the order in which things happened.

The log is the truth; the Parquet tables are written from it, and the Optuna study is brought up to it
when a sweep is opened.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

State = Literal["WAITING", "RUNNING", "PAUSED", "COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"]
STATES: tuple[State, ...] = get_args(State)
SweepState = Literal["RUNNING", "INTERRUPTED", "COMPLETED", "FAILED"]
FINISHED: tuple[State, ...] = ("COMPLETED", "PRUNED", "FAILED", "INFEASIBLE")
StopRule = Literal["after", "at", "no_gain"]
"""The rules of `search.stop`."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Attributes:
    time: seconds since the epoch (UTC), by the driver's clock.
    """

    kind: ClassVar[str]
    time: float


@dataclass(frozen=True, kw_only=True)
class SweepChanged(Event):
    """The sweep as a whole started, stopped or ended.

    `digests`: as `Preparation` has them. `preparing_s`: how long this run of the driver took before it started.
    """

    kind: ClassVar[str] = "sweep"
    state: SweepState
    reason: str = ""
    data_fingerprint: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    preparing_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SearchStopped(Event):
    """A rule of `search.stop` has ended the search. `limit`: what the rule said then, by which it may have changed."""

    kind: ClassVar[str] = "stop"
    rule: StopRule
    limit: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class SearchWentOn(Event):
    """The search goes on, although a rule may have ended it. `anew`: its rules count from here (`sweep extend`)."""

    kind: ClassVar[str] = "go_on"
    anew: bool = False


@dataclass(frozen=True, kw_only=True)
class Confirmed(Event):
    """The best trials were run again. `trials`: those that count by the mean of their runs; none when time ran out."""

    kind: ClassVar[str] = "confirmed"
    trials: Sequence[int]
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TrialStarted(Event):
    """A trial was handed to a worker. `attempt` counts from 1 and fences off workers of earlier attempts.

    `num_threads`: CPU threads of a worker, which decide the last digits; 0 in logs of earlier versions.
    `gpus`: of a worker, whole ones or a share of one. `confirms`: the trial that it runs again with another seed.
    """

    kind: ClassVar[str] = "start"
    trial: int
    attempt: int
    seed: int
    params: Mapping[str, Any]
    name: str | None = None
    num_threads: int = 0
    gpus: float = 0.0
    confirms: int | None = None


@dataclass(frozen=True, kw_only=True)
class EpochReported(Event):
    """One report of a trial. (trial, epoch) is unique in the log: the first one wins.

    `outcomes`, `warnings`: see `EpochReport`.
    """

    kind: ClassVar[str] = "epoch"
    trial: int
    attempt: int
    epoch: int
    metrics: Mapping[str, float]
    host: str = ""
    device: str = ""
    outcomes: str = ""
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class AttemptFailed(Event):
    """An attempt ended badly, and the trial will be tried again. `duration_s` is this attempt's.

    `of_node`: its node was lost, which is not counted as a failure of the trial.
    """

    kind: ClassVar[str] = "failure"
    trial: int
    attempt: int
    reason: str
    duration_s: float = 0.0
    of_node: bool = False


@dataclass(frozen=True, kw_only=True)
class TrialPaused(Event):
    """A trial waits with its checkpoint, and its place is free. A further start says that it goes on.

    `stopped`: not at a rung, but because the search has ended; it goes on as soon as the search does.
    """

    kind: ClassVar[str] = "pause"
    trial: int
    attempt: int
    epoch: int
    reason: str
    duration_s: float = 0.0
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """A trial ended. A duplicate of trial `copy_of` was not trained: it ends as that one did.

    `params`, `seed` and `name` are here again for trials that never started (duplicates).
    """

    kind: ClassVar[str] = "end"
    trial: int
    attempt: int
    state: State
    reason: str = ""
    duration_s: float = 0.0
    copy_of: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    name: str | None = None
    confirms: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrialReopened(Event):
    """A FAILED trial is to run again (`sweep retry`)."""

    kind: ClassVar[str] = "reopen"
    trial: int


@dataclass(frozen=True, kw_only=True)
class FinalEvaluated(Event):
    """The finalist's evaluation on a split. The test split has at most one such event for each best model.

    `epoch`: of which checkpoint; None in logs of earlier versions, which evaluated a trial once.
    """

    kind: ClassVar[str] = "final"
    trial: int
    split: str
    num_examples: int
    metrics: Mapping[str, float]
    epoch: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelMeasured(Event):
    """Facts of an architecture (see `trainables.facts`), and the trials that have it and learn them by this.

    `machine`: on which they were measured. `exported`: of a trained model's package, not of an untrained model.
    `asked`: the facts that were wanted: those of them that are missing cannot be had. `problem`: why, in words.
    """

    kind: ClassVar[str] = "measured"
    architecture: str
    facts: Mapping[str, float]
    machine: str = ""
    trials: Sequence[int] = ()
    exported: bool = False
    asked: Sequence[str] = ()
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class LimitChecked(Event):
    """A trial is over a limit (`over`, in words), or is not any more (empty)."""

    kind: ClassVar[str] = "limit"
    trial: int
    over: str


@dataclass(frozen=True, kw_only=True)
class Answered(Event):
    """What the sweep's answer is worth, as `results.answer.Answer` tells it. The last one counts."""

    kind: ClassVar[str] = "answer"
    answer: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CandidateJudged(Event):
    """A model that may be published, as `results.candidates.Candidate` tells it. The last one of a name counts."""

    kind: ClassVar[str] = "candidate"
    candidate: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CandidateTested(Event):
    """A model that was made of several trials was evaluated on test. `made_of`: the trials, as the candidate has them.

    Of a single trial's model `FinalEvaluated` tells the same.
    """

    kind: ClassVar[str] = "candidate_test"
    candidate: str
    made_of: Sequence[str]
    num_examples: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class GpusShared(Event):
    """It was decided how many trials share a GPU from here on. The last one counts.

    `settled`: nothing more is tried. `rates`: images per second and GPU in sum, by the number of trials. `peak_bytes`:
    the most that a trial's tensors took, of the `gpu_bytes` of a GPU. `beside_bytes`: what a trial took of it beside
    1.2 times its tensors; None: not seen.
    """

    kind: ClassVar[str] = "gpus"
    per_gpu: int
    reason: str
    settled: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    gpu_bytes: int = 0
    beside_bytes: int | None = None


KINDS: dict[str, type[Event]] = {
    kind.kind: kind
    for kind in (
        SweepChanged,
        SearchStopped,
        SearchWentOn,
        Confirmed,
        TrialStarted,
        EpochReported,
        AttemptFailed,
        TrialPaused,
        TrialEnded,
        TrialReopened,
        FinalEvaluated,
        ModelMeasured,
        LimitChecked,
        Answered,
        CandidateJudged,
        CandidateTested,
        GpusShared,
    )
}


def _storable(value: Any) -> Any:
    """An integer beyond what floats hold, which earlier versions took from trainables, is infinite."""
    if isinstance(value, int) and value.bit_length() > 1_023:
        return math.inf if value > 0 else -math.inf
    return value


def to_json(event: Event) -> dict[str, Any]:
    """The event as a JSON object with its `kind`."""
    # Not `dataclasses.asdict`, which copies every mapping deeply: this runs once for each report.
    return {"kind": event.kind, **{item.name: getattr(event, item.name) for item in dataclasses.fields(event)}}


def from_json(record: Mapping[str, Any]) -> Event:
    """The event of one line of the log.

    Raises:
        ValueError: no such kind of event, or a field is missing.
    """
    values = dict(record)
    kind = KINDS.get(values.pop("kind", ""))
    if kind is None:
        raise ValueError(f"unknown kind of event: {record.get('kind')!r}")
    known = {item.name for item in dataclasses.fields(kind)}
    if "metrics" in values:
        values["metrics"] = {name: _storable(value) for name, value in values["metrics"].items()}
    try:
        return kind(**{name: value for name, value in values.items() if name in known})
    except TypeError as error:
        raise ValueError(f"{kind.kind}: {error}") from error
