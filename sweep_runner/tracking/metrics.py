"""What Prometheus is told of a running sweep: gauges, read from the sweep's state when they are asked for.

A report costs nothing, and the series of a trial are gone from the first scrape after its end, because only running
trials are looked at. (Ray's own gauges forget a series 20 s after it was set last, whether the trial is over or only
in a long epoch; they come through an agent that reports every 10 s.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from sweep_runner.results.events import STATES
from sweep_runner.results.state import RANKED, SweepState, TrialSummary

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

_OF_A_TRIAL = ("sweep", "trial")
_REPORTED: Mapping[str, str] = {
    "sweep_trial_images_per_second": "images_per_s",
    "sweep_trial_data_wait_fraction": "data_wait_fraction",
    "sweep_trial_peak_memory_bytes": "peak_memory_bytes",
}
"""Metric → what the trainable reports it as. Where it does not, there is no series."""

METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sweep_trials": ("Trials by state.", ("sweep", "state")),
    "sweep_trials_planned": ("Planned number of trials.", ("sweep",)),
    "sweep_best_objective": ("The objective of the best trial so far, at its best epoch.", ("sweep", "metric")),
    "sweep_best_trial": ("The number of the best trial so far.", ("sweep",)),
    "sweep_gpu_use": ("Share of the time in which a kernel ran, mean over this machine's GPUs.", ("sweep",)),
    "sweep_gpu_memory_bytes": ("Memory of this machine's GPUs in use, by all processes.", ("sweep",)),
    "sweep_images_per_second": ("Images per second of all running trials, each in its last epoch.", ("sweep",)),
    "sweep_trial_info": ("Always 1; labels describe the trial and where it runs.", (
        *_OF_A_TRIAL, "name", "attempt", "host", "device",
    )),
    "sweep_trial_objective": ("The objective in the last epoch.", (*_OF_A_TRIAL, "metric")),
    "sweep_trial_epoch": ("The last epoch that was reported.", _OF_A_TRIAL),
    "sweep_trial_images_per_second": ("Training images per second in the last epoch.", _OF_A_TRIAL),
    "sweep_trial_data_wait_fraction": ("Share of the last epoch spent on waiting for data.", _OF_A_TRIAL),
    "sweep_trial_peak_memory_bytes": ("Peak GPU memory so far; on a CPU, that of the process.", _OF_A_TRIAL),
}  # fmt: skip
"""Metric → its help and its labels. Those of `sweep_trial_` are there from a trial's first report to its end."""


class Sight(Protocol):
    """GPUs at one moment; `sweep_runner.execution.resources.gpus.GpuSight` is one."""

    @property
    def use(self) -> float: ...
    @property
    def used_bytes(self) -> int: ...


class SweepCollector:
    """A collector, as `prometheus_client` takes it.

    Args:
        sweep: its name.
        planned: how many trials it is to have.
        look: calls a function with the sweep's state while that stands still: `Recorder.look`.
        gpus: what is seen of this machine's GPUs; None: nothing, and there are no series of them.
    """

    def __init__(
        self,
        sweep: str,
        planned: int,
        look: Callable[[Callable[[SweepState], Iterable[GaugeMetricFamily]]], Iterable[GaugeMetricFamily]],
        gpus: Callable[[], Sight | None] = lambda: None,
    ) -> None:
        self._sweep = sweep
        self._planned = planned
        self._look = look
        self._gpus = gpus

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The names alone: registering it need not look at the sweep."""
        return _families().values()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._look(self._read)

    def _read(self, state: SweepState) -> Iterable[GaugeMetricFamily]:
        families = _families()
        counts = state.counts()
        for name in STATES:
            families["sweep_trials"].add_metric((self._sweep, name.lower()), counts[name])
        families["sweep_trials_planned"].add_metric((self._sweep,), self._planned)
        best = state.best((*RANKED, "RUNNING"))
        if best is not None and best.best_value is not None:
            families["sweep_best_trial"].add_metric((self._sweep,), best.trial)
            families["sweep_best_objective"].add_metric((self._sweep, state.objective.metric), best.best_value)
        sight = self._gpus()
        if sight is not None:
            families["sweep_gpu_use"].add_metric((self._sweep,), sight.use)
            families["sweep_gpu_memory_bytes"].add_metric((self._sweep,), sight.used_bytes)
        running = [trial for trial in state.trials.values() if trial.state == "RUNNING"]
        rates = [trial.last_metrics["images_per_s"] for trial in running if "images_per_s" in trial.last_metrics]
        if rates:
            families["sweep_images_per_second"].add_metric((self._sweep,), sum(rates))
        for trial in running:
            self._read_trial(trial, state.objective.metric, families)
        return families.values()

    def _read_trial(self, trial: TrialSummary, metric: str, families: Mapping[str, GaugeMetricFamily]) -> None:
        labels = (self._sweep, str(trial.trial))
        if trial.last_epoch is None:
            return  # where it runs comes with the first report, too
        where = (trial.name or "", str(trial.attempt), trial.host, trial.device)
        families["sweep_trial_info"].add_metric((*labels, *where), 1)
        families["sweep_trial_epoch"].add_metric(labels, trial.last_epoch)
        reported = dict(trial.last_metrics)
        if trial.peak_memory_bytes is not None:
            reported["peak_memory_bytes"] = trial.peak_memory_bytes  # of all epochs
        if metric in reported:
            families["sweep_trial_objective"].add_metric((*labels, metric), reported[metric])
        for name, source in _REPORTED.items():
            if source in reported:
                families[name].add_metric(labels, reported[source])


def _families() -> dict[str, GaugeMetricFamily]:
    from prometheus_client.core import GaugeMetricFamily

    return {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in METRICS.items()}
