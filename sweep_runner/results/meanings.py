"""What each column of the tables means, in a line."""

from __future__ import annotations

from sweep_runner.results.events import STATES
from trainables.facts import setting_of

_SHARED = {
    "sweep": "name of the sweep",
    "trial": "number of the trial in its sweep",
    "split": "train, val or test",
    "attempt": "number of the attempt, from 1",
    "lr": "learning rate at the end of the epoch",
    "peak_memory_bytes": "peak memory",
    "reason": "why it ended",
    "duration_s": "running time, without interruptions",
}
_MEANINGS: dict[str, dict[str, str]] = {
    "annotations": {
        "starred": "whether somebody gave the trial a star (sweep star)",
        "note": "what somebody noted of it (sweep note); empty without a note",
        "changed": "when star or note were last changed",
    },
    "sweeps": {
        "state": "RUNNING, INTERRUPTED, COMPLETED or FAILED, as of now",
        "started": "when it began",
        "finished": "when it ended; empty while it runs",
        "updated": "when something was last recorded",
        "objective": "the metric that the search optimizes",
        "goals": "the further objectives, as JSON: column, and max or min",
        "mode": "max or min",
        "stopped_by": "the rule of search.stop that ended the search; empty when its trials were used up",
        "stop_reason": "the reason in words",
        "confirm_reason": "why some of the best trials are not ranked by the mean of their runs (search.confirm)",
        "best_trial": "number of the best trial",
        "best_value": "the objective at its best epoch",
        "num_trials": "trials that have started or are queued",
        "test_uses": "number of models evaluated on test: each makes the test figures more optimistic",
        "answer": "trials that are not significantly worse than the best, and the estimate for unseen data, as JSON",
        "data_fingerprint": "changes when examples, labels, pixels or splits do",
        "command": "the last command",
        "captured": "when these facts were recorded",
        "platform": "operating system",
        "python": "version of Python",
        "git_commit": "commit of the code that ran",
        "git_dirty": "whether the code had uncommitted changes",
        "git_changes": "files with uncommitted changes",
        "num_cpus": "CPUs available to the sweep there",
        "memory_bytes": "memory of that machine",
        "cpu": "model of its CPU",
        "gpu_driver": "version of its GPU driver",
        "host": "machine on which it was started",
    },
    "trials": {
        "name": "the baseline's; empty for a proposed trial",
        "state": "WAITING, RUNNING, PAUSED (at a rung, or by search.stop), COMPLETED, PRUNED, FAILED or INFEASIBLE",
        "best_epoch": "the epoch that is best by the objective",
        "epochs": "epochs that were reported",
        "shared_s": "time for what other trials use, too (features of a frozen network); not part of duration_s",
        "num_parameters": "number of parameters of the model",
        "host": "where it ran",
        "device": "device",
        "gpus": "GPUs per worker: whole, or a share of one",
        "failures": "attempts that failed",
        "seed": "of weights, order and augmentation",
        "measured_on": "the machine on which the onnx_ columns were measured",
        "pareto_front": "whether the trial is on the Pareto front; empty with a single objective",
        "over_limit": "limits that its model exceeds: it has no rank",
        "warnings": "what did not run as wished, and why, as the trial said",
        "num_flops": "floating-point operations per image",
        "onnx_bytes": "size of the model's ONNX file",
        "copy_of": "the trial with the same params, whose result it has",
        "test_use": "number of the use of test, from 1; all but the last are of earlier winners",
        "confirms": "the trial that it repeats with another seed",
        "confirmed_runs": "runs of the configuration with different seeds, its own included; empty: not run again",
        "confirmed_mean": "mean of the objective over these runs: the trial is ranked by it",
        "confirmed_std": "standard deviation of the objective between these runs",
        "started": "when it first started",
        "ended": "when it ended or paused",
    },
    "epochs": {
        "epoch": "from 1",
        "epoch_s": "training time in seconds",
        "images_per_s": "training examples per second",
        "data_wait_fraction": "share of epoch_s spent waiting for data",
        "time": "when it was reported",
    },
    "predictions": {
        "example": "its name in the dataset",
        "group": "the image, patient, … that it shares with other examples",
        "fold": "with data.split.folds: the fold whose model made the prediction, from 1; that model has not seen "
        "the example",
        "labels": "what it is",
        "predicted": "predicted class or labels",
    },
    "classes": {
        "class": "its name",
        "precision": "share of its predictions that are correct",
        "recall": "share of its examples that were predicted as it (sensitivity)",
        "specificity": "share of the other examples that were not predicted as it; empty if there are none",
        "auroc": "area under the ROC curve; empty if no example or every example has it",
        "f1": "harmonic mean of precision and recall",
        "support": "examples that have it",
        "average_precision": "area under the precision-recall curve",
        "accuracy": "of the label on its own (multi-label data)",
        "threshold": "probability from which the label is predicted (multi-label data)",
    },
    "candidates": {
        "candidate": "single: one trial's model; soup: the mean of several trials' weights; ensemble: several models "
        "that answer together",
        "published": "whether it is the model of the sweep",
        "trials": "whose checkpoints it is made of",
        "val_accuracy": "share of correct answers on val",
        "val_accuracy_low": "lower end of its 95 % interval",
        "val_accuracy_high": "upper end of its 95 % interval",
        "compared_with": "the candidate that it is compared with on the same val examples",
        "difference": "its accuracy minus that one's",
        "difference_low": "lower end of the difference's 95 % interval: above 0 it is published instead",
        "difference_high": "upper end of the difference's 95 % interval",
        "val_log_loss": "log loss on val: mean negative logarithm of the probability of the true class",
        "test_accuracy": "share of correct answers on test; published models only",
        "num_parameters": "size of the network or networks",
        "num_flops": "floating-point operations per image",
        "onnx_bytes": "size of its ONNX file",
        "onnx_latency_ms": "milliseconds in ONNX Runtime (one image, one thread), median",
        "onnx_latency_p95_ms": "95th percentile of onnx_latency_ms",
        "reason": "why it is published, or is not",
    },
    "confusions": {
        "label": "multi-label data: the label of the 2×2 matrix",
        "actual": "class, or yes and no of a label",
        "predicted": "class, or yes and no of a label",
        "count": "examples in this cell",
        "rate": "share of the examples of the actual class",
    },
}


def meaning(table: str, column: str) -> str:
    """What a column means; of a trial's other columns: a hyperparameter."""
    known = _MEANINGS.get(table, {}).get(column) or _SHARED.get(column if table != "trials" or column != "lr" else "")
    if known:
        return known
    if table == "sweeps" and column.removeprefix("num_").upper() in STATES:
        return f"trials that are {column.removeprefix('num_').upper()}"
    if column.endswith("_version"):
        return f"of {column.removesuffix('_version').replace('_', '-')}"
    if table == "predictions" and column.startswith("p_"):
        return f"probability of {column.removeprefix('p_')}"
    if column.endswith("_std"):
        return "standard deviation over the folds (data.split.folds)"
    if table == "epochs":
        return "metric of this epoch"
    for prefix, words in (("best_", "at the best epoch"), ("last_", "at the last epoch")):
        if column.startswith(prefix):
            return f"{column.removeprefix(prefix)} {words}"
    if table == "trials" and (setting := setting_of(column)) is not None:
        which = "median" if column == setting.fact else "95th percentile"
        return f"milliseconds in ONNX Runtime ({setting}), {which}"
    if table == "trials":
        evaluated = column.startswith(("val_", "test_"))
        return "metric of the final evaluation" if evaluated else "hyperparameter; empty if the trial has none"
    return ""
