"""The models that a sweep has to choose from when it publishes one: a single trial's, and what is made of several.

Each is judged on val. One that is made of several trials takes the single one's place only where it is better by more
than chance. They are rows of the table `candidates`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from trainables.facts import NUM_FLOPS, NUM_PARAMETERS, ONNX_BYTES, ONNX_LATENCY, ONNX_LATENCY_P95
from trainables.intervals import Share
from trainables.quantities import size_text

if TYPE_CHECKING:
    from sweep_runner.results.state import SweepState

SINGLE = "single"
MADE = ("soup", "ensemble")
"""What is made of several trials, in the order in which they are judged."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model that may be published.

    Attributes:
        name: `single`, `soup` or `ensemble`.
        asked: what it was judged for: the trials that there were, and the settings. Of another sweep end it says
            nothing.
        trials: whose checkpoints it is made of, with their epochs, as `trial:epoch`, the first one first; empty: it
            could not be made.
        metrics: on val.
        share: of right answers on val; None: not known.
        against: the candidate that it was compared with.
        difference, low, high: in accuracy on val, this one minus that one, with the 95 % interval (paired bootstrap).
        published: whether it is the model of the sweep.
        reason: why it is, or is not.
        left_out: trials that could not take part, and why.
        facts: what was measured of its package; empty: what its trial's architecture has.
    """

    name: str
    asked: str = ""
    trials: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    share: Share | None = None
    against: str = ""
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    published: bool = False
    reason: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The trials that it is made of."""
        return tuple(int(each.partition(":")[0]) for each in self.trials)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, for the log."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self | None:
        """What `to_json` made; None when it is of a version that told other things."""
        try:
            share = values["share"]
            return cls(
                **{**values, "trials": tuple(values["trials"]), "share": None if share is None else Share(**share)}
            )
        except (KeyError, TypeError):
            return None


def candidates_of(state: SweepState) -> list[Candidate]:
    """The candidates on record, the single model first."""
    found = {name: Candidate.read(values) for name, values in state.candidates.items()}
    return [each for name in (SINGLE, *MADE) if (each := found.get(name)) is not None]


_COLUMNS: Mapping[str, pa.DataType] = {
    "sweep": pa.string(),
    "candidate": pa.string(),
    "published": pa.bool_(),
    "trials": pa.list_(pa.int64()),
    "val_accuracy": pa.float64(),
    "val_accuracy_low": pa.float64(),
    "val_accuracy_high": pa.float64(),
    "compared_with": pa.string(),
    "difference": pa.float64(),
    "difference_low": pa.float64(),
    "difference_high": pa.float64(),
    "val_log_loss": pa.float64(),
    "test_accuracy": pa.float64(),
    NUM_PARAMETERS: pa.int64(),
    NUM_FLOPS: pa.int64(),
    ONNX_BYTES: pa.int64(),
    ONNX_LATENCY: pa.float64(),
    ONNX_LATENCY_P95: pa.float64(),
    "reason": pa.string(),
}


def candidates_table(sweep: str, state: SweepState) -> pa.Table:
    """The table `candidates`: a row for each."""
    return pa.table(
        {
            name: pa.array([row.get(name) for row in rows_of_candidates(sweep, state)], kind)
            for name, kind in _COLUMNS.items()
        }
    )


def empty_candidates() -> pa.Table:
    """The table without rows."""
    return pa.schema(list(_COLUMNS.items())).empty_table()


def tested_metrics(state: SweepState, candidate: Candidate) -> Mapping[str, float]:
    """What is on record of what was made of several trials, on test; empty where it was not judged there."""
    metrics: Mapping[str, float] = state.tested.get(candidate.name, {}).get("metrics", {})
    return metrics


def rows_of_candidates(sweep: str, state: SweepState) -> list[dict[str, Any]]:
    """The rows of the table, by column."""
    return [_row(sweep, each, state) for each in candidates_of(state)]


def _row(sweep: str, candidate: Candidate, state: SweepState) -> dict[str, Any]:
    first = state.trials.get(candidate.numbers[0]) if candidate.trials else None
    facts: Mapping[str, float] = candidate.facts
    if first is not None and candidate.name != "ensemble":  # of the same architecture
        facts = {**first.facts, **facts}
    tested = tested_metrics(state, candidate)
    if candidate.name == SINGLE and first is not None:
        tested = first.final_metrics
    whole = {name: None if facts.get(name) is None else int(facts[name]) for name in (NUM_FLOPS, ONNX_BYTES)}
    parameters = facts.get(NUM_PARAMETERS) or (first.num_parameters if first is not None else None)
    return {
        "sweep": sweep,
        "candidate": candidate.name,
        "published": candidate.published,
        "trials": list(candidate.numbers),
        "val_accuracy": candidate.share and candidate.share.value,
        "val_accuracy_low": candidate.share and candidate.share.low,
        "val_accuracy_high": candidate.share and candidate.share.high,
        "compared_with": candidate.against or None,
        "difference": candidate.difference,
        "difference_low": candidate.low,
        "difference_high": candidate.high,
        "val_log_loss": candidate.metrics.get("val_log_loss"),
        "test_accuracy": tested.get("test_accuracy"),
        NUM_PARAMETERS: None if parameters is None else int(parameters),
        **whole,
        ONNX_LATENCY: facts.get(ONNX_LATENCY),
        ONNX_LATENCY_P95: facts.get(ONNX_LATENCY_P95),
        "reason": candidate.reason,
    }


def text_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The candidates as lines of aligned columns, for people."""
    head = ("candidate", "trials", "accuracy on val", "against", "difference (95 %)", "size", "latency", "test")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    def interval(value: str, low: str, high: str, sign: str) -> str:
        if row[value] is None:
            return "–"
        return f"{row[value]:{sign}.3f} ({row[low]:{sign}.3f} to {row[high]:{sign}.3f})"

    size, test = row[ONNX_BYTES], row["test_accuracy"]
    latency, p95 = row[ONNX_LATENCY], row[ONNX_LATENCY_P95]
    return (
        f"{row['candidate']}{' *' if row['published'] else ''}",
        ", ".join(map(str, row["trials"])) or "–",
        interval("val_accuracy", "val_accuracy_low", "val_accuracy_high", ""),
        row["compared_with"] or "–",
        interval("difference", "difference_low", "difference_high", "+"),
        "–" if size is None else size_text(size),
        "–" if latency is None else f"{latency:.3g} ms" + ("" if p95 is None else f" (p95 {p95:.3g})"),
        "–" if test is None else f"{test:.3f}",
    )


def asked_for(members: Iterable[str], settings: Mapping[str, Any]) -> str:
    """What a candidate is judged for, as text that changes when it has to be judged anew."""
    return json.dumps([list(members), dict(settings)], sort_keys=True)
