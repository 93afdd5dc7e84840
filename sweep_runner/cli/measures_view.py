"""What `sweep evaluate` tells beyond the metrics: at a threshold, with answers kept back, top-k, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sweep_runner.cli.common import Out

if TYPE_CHECKING:
    import pyarrow as pa

    from sweep_runner.results.measures import Answered, Calibration, ClassMeasures
    from sweep_runner.results.paths import ResultsPaths

_SHOWN = 10


class Measures:
    """The measures of one evaluation, computed once for whoever tells them.

    Args:
        predictions: of the evaluation.
        split: that was evaluated.
        origin: of the model, as its package says; with it the sweep's own predictions on val are found.
        results: where that sweep may be.
        threshold: from which probability on a class counts as said; None: as the model decides.
        confidence: below which the model is to say that it does not know; None: not asked for.
    """

    def __init__(
        self,
        predictions: pa.Table,
        split: str,
        origin: Mapping[str, Any],
        results: ResultsPaths,
        threshold: float | None,
        confidence: float | None,
    ) -> None:
        from sweep_runner.results import measures

        self._found = measures.judged(predictions)
        self.threshold, self.confidence = threshold, confidence
        self.classes: list[ClassMeasures] = []
        self.coverage: list[Answered] = []
        self.top: Mapping[int, float] = {}
        self.calibration: Calibration | str = "no example was evaluated"
        if self._found is None:
            return
        levels = dict.fromkeys((*measures.CONFIDENCES, *(() if confidence is None else (confidence,))))
        self.classes = measures.class_measures(self._found, threshold)
        self.coverage = [measures.answered(self._found, level) for level in sorted(levels)]
        self.top = measures.top_k(self._found)
        if split == "val":
            self.calibration = "no temperature: it is fitted on val, so val cannot test it"
        elif value := (origin.get("temperature") or {}).get("value"):
            self.calibration = f"with the model's own temperature, {value:.4g}"
        else:
            self.calibration = measures.calibration(self._found, _own_val(origin, results))

    def say(self, out: Out) -> None:
        """Tells people what was asked for, and what is worth knowing of the rest."""
        from sweep_runner.results.measures import calibration_error

        if self._found is None:
            return
        if self.top:
            shown = ", ".join(f"top-{k} {value:.3f}" for k, value in self.top.items())
            out.say(f"the true class is among the most likely ones: {shown}")
        chosen = 0.9 if self.confidence is None else self.confidence
        out.say(coverage_words(next(each for each in self.coverage if each.confidence == chosen), self._found.single))
        if isinstance(self.calibration, str):
            error = calibration_error(self._found.probabilities, self._found)
            out.say(f"calibration: error {error:.4f} ({self.calibration})")
        else:
            out.say(calibration_words(self.calibration))
        if undefined := [each.name for each in self.classes if each.auroc is None]:
            more = f" and {len(undefined) - _SHOWN} more" if len(undefined) > _SHOWN else ""
            out.say(f"no AUROC (no example or every example has it): {', '.join(undefined[:_SHOWN])}{more}")

    def print_classes(self, out: Out) -> None:
        """One row per class, at the threshold; what is not defined is empty."""
        out.table(
            ("class", "examples", "others", "threshold", "sensitivity", "specificity", "auroc"),
            [
                (
                    each.name, each.num_with, each.num_without, self.threshold, each.sensitivity, each.specificity,
                    each.auroc,
                )
                for each in self.classes
            ],
        )  # fmt: skip

    def coverage_table(self) -> pa.Table:
        """Accuracy against coverage, one row per confidence."""
        import pyarrow as pa

        return pa.table(
            {
                "confidence": pa.array([each.confidence for each in self.coverage], pa.float64()),
                "coverage": pa.array([each.coverage for each in self.coverage], pa.float64()),
                "num_answers": pa.array([each.num_answers for each in self.coverage], pa.int64()),
                **{
                    name: pa.array(
                        [None if each.accuracy is None else getattr(each.accuracy, key) for each in self.coverage],
                        pa.float64(),
                    )
                    for name, key in (("accuracy", "value"), ("accuracy_low", "low"), ("accuracy_high", "high"))
                },
            }
        )

    def as_json(self) -> dict[str, Any]:
        """For scripts; null is what is not defined."""
        return {
            "threshold": self.threshold,
            "classes": [
                {**asdict(each), "sensitivity": each.sensitivity, "specificity": each.specificity}
                for each in self.classes
            ],
            "coverage": self.coverage_table().to_pylist(),
            "top_k_accuracy": {str(k): value for k, value in self.top.items()},
            "calibration": self.calibration if isinstance(self.calibration, str) else asdict(self.calibration),
        }


def coverage_words(found: Answered, single: bool) -> str:
    """One line: how much is answered from a confidence on, and how well."""
    what = "" if single else " yes-or-no answers"
    start = f"answering from {found.confidence:g} on"
    if found.accuracy is None:
        return f"{start}: none of {found.num_asked:,}{what}"
    return (
        f"{start}: {found.num_answers:,} of {found.num_asked:,}{what} (coverage {found.coverage:.3f}), accuracy "
        f"{found.accuracy}"
    )


def calibration_words(found: Calibration) -> str:
    """One line: the calibration error before and after the temperature."""
    return (
        f"calibration: error {found.error:.4f}, with temperature {found.temperature:.3g} (fitted on "
        f"{found.num_fitted:,} val examples) {found.scaled_error:.4f}; "
        f"log loss {found.log_loss:.4f} and {found.scaled_log_loss:.4f}"
    )


def _own_val(origin: Mapping[str, Any], results: ResultsPaths) -> Any:
    """The model's predictions on val, as its sweep kept them; None where they are not there, or not this model's."""
    from sweep_runner.report.facts import predictions
    from sweep_runner.results.measures import judged

    sweep, trial = origin.get("sweep"), origin.get("trial")
    if not isinstance(sweep, str) or not isinstance(trial, int) or origin.get("refit") or origin.get("candidate"):
        return None
    found = {paths.name: paths for paths in results.sweeps()}
    if sweep not in found:
        return None
    table = predictions(found[sweep], trial, "val", lambda text: None)
    return None if table is None else judged(table)
