"""The columns of the tables: how summaries, reports and evaluations become Arrow tables.

A column keeps its name for the whole life of a sweep: fixed columns first, then params (as `param_<name>`
where a fixed column has the name), then metrics (as `metric_<name>` where one of those has it).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from sweep_runner.results.candidates import empty_candidates
from sweep_runner.results.events import STATES
from sweep_runner.results.front import goals_of
from sweep_runner.results.ranking import Runs
from sweep_runner.results.state import RANKED, Further, SweepState, TrialSummary, whole

if TYPE_CHECKING:
    from sweep_runner.results.events import EpochReported

Row = Mapping[str, Any]

TIMESTAMP = pa.timestamp("us", tz="UTC")
PARAMS_KEY = b"sweep_params"
"""Metadata of a `trials` part: param → its column, as a JSON object."""
OWN_PLACE = (
    "epoch_s", "images_per_s", "data_wait_fraction", "lr", "peak_memory_bytes", "num_parameters", "shared_s",
)  # fmt: skip
"""What a trainable reports beside its metrics: columns of `epochs` or `trials`, without `best_` and `last_`."""
WHOLE_FACTS = ("num_flops", "onnx_bytes")
"""What is measured of a model and is a whole number: columns of `trials`. The others are there as metrics are."""
NOT_AMONG_METRICS = (*OWN_PLACE, *WHOLE_FACTS)

PREDICTIONS = pa.schema(
    [
        ("sweep", pa.string()),
        ("trial", pa.int64()),
        ("split", pa.string()),
        ("example", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("predicted", pa.list_(pa.string())),
    ]
)
"""What `predictions` has at least; with it one `p_<class>` column for each class."""
CLASSES = pa.schema(
    [
        ("sweep", pa.string()),
        ("trial", pa.int64()),
        ("split", pa.string()),
        ("class", pa.string()),
        *((name, pa.float64()) for name in ("precision", "recall", "f1")),
        ("support", pa.int64()),
        ("average_precision", pa.float64()),
        ("specificity", pa.float64()),
        ("auroc", pa.float64()),
        ("accuracy", pa.float64()),
        ("threshold", pa.float64()),
    ]
)
CONFUSIONS = pa.schema(
    [
        ("sweep", pa.string()),
        ("trial", pa.int64()),
        ("split", pa.string()),
        ("label", pa.string()),
        ("actual", pa.string()),
        ("predicted", pa.string()),
        ("count", pa.int64()),
        ("rate", pa.float64()),
    ]
)
"""Confusion matrices, one row per cell. `label` is null where each example has one class; else the row is of that
label's 2×2 matrix, with `yes` and `no` as actual and predicted."""
EVALUATIONS = {"predictions": PREDICTIONS, "classes": CLASSES, "confusions": CONFUSIONS}
"""The tables of final evaluations, with what they have at least."""

TRIAL_HEAD = {
    "sweep": pa.string(),
    "trial": pa.int64(),
    "name": pa.string(),
    "state": pa.string(),
    "reason": pa.string(),
}
TRIAL_TAIL = {
    "best_epoch": pa.int64(),
    "epochs": pa.int64(),
    "duration_s": pa.float64(),
    "shared_s": pa.float64(),
    "num_parameters": pa.int64(),
    "num_flops": pa.int64(),
    "onnx_bytes": pa.int64(),
    "peak_memory_bytes": pa.int64(),
    "host": pa.string(),
    "device": pa.string(),
    "gpus": pa.float64(),
    "attempt": pa.int64(),
    "failures": pa.int64(),
    "seed": pa.int64(),
    "copy_of": pa.int64(),
    "test_use": pa.int64(),
    "measured_on": pa.string(),
    "confirms": pa.int64(),
    "confirmed_runs": pa.int64(),
    "confirmed_mean": pa.float64(),
    "confirmed_std": pa.float64(),
    "over_limit": pa.string(),
    "warnings": pa.string(),
    "pareto_front": pa.bool_(),
    "started": TIMESTAMP,
    "ended": TIMESTAMP,
}
EPOCH_HEAD = {"sweep": pa.string(), "trial": pa.int64(), "epoch": pa.int64()}
EPOCH_TAIL = {
    "epoch_s": pa.float64(),
    "images_per_s": pa.float64(),
    "data_wait_fraction": pa.float64(),
    "lr": pa.float64(),
    "peak_memory_bytes": pa.int64(),
    "attempt": pa.int64(),
    "time": TIMESTAMP,
}
BEST_SO_FAR = (*RANKED, "RUNNING", "WAITING")
"""The states whose trials may hold a sweep's best value while it runs."""


def param_columns(params: Sequence[str]) -> dict[str, str]:
    """The column of each param in `trials`. Names are compared as SQL does: without case."""
    columns: dict[str, str] = {}
    taken = {name.casefold() for name in (*TRIAL_HEAD, *TRIAL_TAIL)}
    for param in params:
        columns[param] = _free(param, "param_", taken)
    return columns


def _free(name: str, prefix: str, taken: set[str]) -> str:
    while name.casefold() in taken:
        name = prefix + name
    taken.add(name.casefold())
    return name


def trial_row(summary: TrialSummary, objective: str, runs: Runs | None = None) -> dict[str, Any]:
    """A trial as plain values: `head`, `params`, `metrics` (with their prefixes) and `tail`, each by name.

    Args:
        summary: the trial.
        objective: the metric.
        runs: by whose mean it counts; None: by its own value.
    """
    return {
        "head": {
            "trial": summary.trial,
            "name": summary.name,
            "state": summary.state,
            "reason": summary.reason or None,
        },
        "params": dict(summary.params),
        "metrics": {
            **_prefixed("best_", summary.best_metrics, objective),
            **_prefixed("last_", summary.last_metrics, objective),
            **summary.final_metrics,
            **{name: value for name, value in summary.facts.items() if name not in NOT_AMONG_METRICS},
        },
        "tail": {
            "best_epoch": summary.best_epoch,
            "epochs": summary.epochs,
            "duration_s": summary.duration_s,
            "shared_s": summary.shared_s,
            "num_parameters": summary.num_parameters,
            **{name: whole(summary.facts.get(name)) for name in WHOLE_FACTS},
            "peak_memory_bytes": summary.peak_memory_bytes,
            "host": summary.host or None,
            "device": summary.device or None,
            "gpus": summary.gpus,
            "attempt": summary.attempt,
            "failures": summary.failures,
            "seed": summary.seed,
            "copy_of": summary.copy_of,
            "test_use": summary.test_use,
            "measured_on": summary.measured_on or None,
            "confirms": summary.confirms,
            "confirmed_runs": runs and len(runs.values),
            "confirmed_mean": runs and runs.mean,
            "confirmed_std": runs and runs.std,
            "over_limit": summary.over_limit or None,
            "warnings": "; ".join(summary.warnings) or None,
            "pareto_front": None,
            "started": microseconds(summary.started),
            "ended": microseconds(summary.ended),
        },
    }


def _prefixed(prefix: str, metrics: Mapping[str, float], objective: str) -> dict[str, float]:
    return {prefix + name: value for name, value in metrics.items() if name not in OWN_PLACE or name == objective}


class MetricColumns:
    """The column of each metric, for the whole life of a sweep: given out in the order of its log.

    Names are compared as SQL does: without case. Of `Loss` and `loss` the later one is `metric_loss`, in every part.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {name.casefold() for name in taken}
        self._columns: dict[str, str] = {}

    def __getitem__(self, metric: str) -> str:
        if metric not in self._columns:
            self._columns[metric] = _free(metric, "metric_", self._taken)
        return self._columns[metric]


def epoch_columns() -> MetricColumns:
    """Of the `epochs` table."""
    return MetricColumns((*EPOCH_HEAD, *EPOCH_TAIL))


def in_trials(metrics: Iterable[str]) -> list[str]:
    """What a report's metrics are called in the `trials` table, in the same order."""
    return [prefix + name for name in metrics if name not in OWN_PLACE for prefix in ("best_", "last_")]


def trials_table(sweep: str, rows: Sequence[Row], params: Sequence[str], metrics: Sequence[str] = ()) -> pa.Table:
    """The `trials` table.

    Args:
        sweep: the sweep's name.
        rows: from `trial_row`, in the order of the table.
        params: the names of the space; others that a row has follow them.
        metrics: the names of metrics with their prefixes, in the order in which they came; others follow them.
    """
    arrays: dict[str, pa.Array] = {"sweep": pa.array([sweep] * len(rows), pa.string())}
    for name, kind in list(TRIAL_HEAD.items())[1:]:
        arrays[name] = pa.array([row["head"][name] for row in rows], kind)
    every_param = _names([dict.fromkeys(params), *(row["params"] for row in rows)])
    columns = param_columns(every_param)
    for param, column in columns.items():
        arrays[column] = param_array([row["params"].get(param) for row in rows])
    metric_columns = MetricColumns((*TRIAL_HEAD, *TRIAL_TAIL, *columns.values()))
    for metric in metrics:
        metric_columns[metric]  # keeps its column also while no row has a value for it
    found = [row["metrics"] for row in rows]
    for metric in _names(found):
        arrays[metric_columns[metric]] = number_array([row.get(metric) for row in found])
    for name, kind in TRIAL_TAIL.items():
        arrays[name] = pa.array([row["tail"][name] for row in rows], kind)
    return pa.table(arrays, metadata={PARAMS_KEY: json.dumps(columns)})


def epochs_table(sweep: str, events: Sequence[EpochReported], columns: MetricColumns | None = None) -> pa.Table:
    """Rows of the `epochs` table, in the order of the events.

    Args:
        sweep: the sweep's name.
        events: reports.
        columns: of metrics that came before; learns those that are new.
    """
    columns = epoch_columns() if columns is None else columns
    metrics = [event.metrics for event in events]
    arrays = {
        "sweep": pa.array([sweep] * len(events), pa.string()),
        "trial": pa.array([event.trial for event in events], pa.int64()),
        "epoch": pa.array([event.epoch for event in events], pa.int64()),
    }
    for metric in _names(metrics):
        if metric not in OWN_PLACE:
            arrays[columns[metric]] = number_array([row.get(metric) for row in metrics])
    for name in ("epoch_s", "images_per_s", "data_wait_fraction", "lr"):
        arrays[name] = number_array([row.get(name) for row in metrics])
    arrays["peak_memory_bytes"] = pa.array([whole(row.get("peak_memory_bytes")) for row in metrics], pa.int64())
    arrays["attempt"] = pa.array([event.attempt for event in events], pa.int64())
    arrays["time"] = pa.array([microseconds(event.time) for event in events], TIMESTAMP)
    return pa.table(arrays)


def sweeps_table(sweep: str, state: SweepState, info: Mapping[str, Any]) -> pa.Table:
    """The one row of the `sweeps` table.

    Args:
        sweep: the sweep's name.
        state: what its log adds up to.
        info: scalars become columns of that name; each entry of `versions` becomes `<package>_version`.
    """
    best = state.best(BEST_SO_FAR)
    counts, stopped, confirmation = state.counts(), state.search.stopped, state.search.confirmation
    columns: dict[str, tuple[Any, pa.DataType]] = {
        "sweep": (sweep, pa.string()),
        "state": (state.state, pa.string()),
        "reason": (state.reason or None, pa.string()),
        "stopped_by": (stopped and stopped.rule, pa.string()),
        "stop_reason": (stopped and stopped.reason, pa.string()),
        "confirm_reason": ((confirmation and confirmation.reason) or None, pa.string()),
        "started": (microseconds(state.started), TIMESTAMP),
        "finished": (microseconds(state.finished), TIMESTAMP),
        "updated": (microseconds(state.updated), TIMESTAMP),
        "duration_s": (state.duration_s, pa.float64()),
        "objective": (state.objective.metric, pa.string()),
        "mode": (state.objective.mode, pa.string()),
        "goals": (json.dumps(goals_of(state.objective)) if state.objective.also else None, pa.string()),
        "best_trial": (best and best.trial, pa.int64()),
        "best_value": (best and best.best_value, pa.float64()),
        "num_trials": (len(state.trials), pa.int64()),
        "test_uses": (state.test_uses, pa.int64()),
        "answer": (state.answer and json.dumps(state.answer), pa.string()),
    }
    for trial_state in STATES:
        columns[f"num_{trial_state.lower()}"] = (counts[trial_state], pa.int64())
    columns["data_fingerprint"] = (state.data_fingerprint or None, pa.string())
    arrays = {name: pa.array([value], kind) for name, (value, kind) in columns.items()}
    taken = set(columns)
    for name, value in info.items():
        if value is None or isinstance(value, bool | int | float | str):
            arrays[_free(name, "info_", taken)] = param_array([value])
    for package, version in info.get("versions", {}).items():
        arrays[_free(f"{package.replace('-', '_')}_version", "info_", taken)] = pa.array([version], pa.string())
    return pa.table(arrays)


def empty_table(table: str) -> pa.Table:
    """A table without rows, with the columns that it always has."""
    if table == "trials":
        return trials_table("", (), ())
    if table == "epochs":
        return epochs_table("", ())
    if table == "sweeps":
        return sweeps_table("", SweepState(_NoObjective()), {}).slice(0, 0)
    return empty_candidates() if table == "candidates" else EVALUATIONS[table].empty_table()


class _NoObjective:
    metric: str = ""
    mode: Literal["min", "max"] = "max"
    also: Sequence[Further] = ()

    def better(self, one: float, other: float) -> bool:
        return one > other


def evaluation_table(sweep: str, trial: int | None, split: str, table: pa.Table) -> pa.Table:
    """A trainable's table of an evaluation, with columns in front that say whose it is (`trial` None: of several)."""
    rest = table.drop_columns([name for name in ("sweep", "trial", "split") if name in table.column_names])
    front = {
        "sweep": pa.array([sweep] * len(table), pa.string()),
        "trial": pa.array([trial] * len(table), pa.int64()),
        "split": pa.array([split] * len(table), pa.string()),
    }
    return pa.table({**front, **{name: rest[name] for name in rest.column_names}})


def param_array(values: Sequence[Any]) -> pa.Array:
    """Values of a param in the narrowest type that holds them all: bool, int, float, else string."""
    kinds: set[type] = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    huge = any(type(value) is int and abs(value) >= 2**63 for value in values)
    if kinds == {int} and not huge:
        return pa.array(values, pa.int64())
    if kinds <= {int, float} and not huge:
        return number_array(values)
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def number_array(values: Sequence[Any]) -> pa.Array:
    """Floats; NaN and infinities stay what they are, and what is not a number is null."""
    return pa.array([float(value) if isinstance(value, int | float) else None for value in values], pa.float64())


def microseconds(time_s: float | None) -> int | None:
    """Seconds since the epoch as what a timestamp column holds."""
    return None if time_s is None else round(time_s * 1e6)


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return list(names)
