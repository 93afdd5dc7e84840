"""The sweep file as frozen models: every key, its type, its default, one line of help each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sweep_runner.spec.cluster import Cluster
from sweep_runner.spec.ending import Confirm, Stop
from sweep_runner.spec.goals import Goal, Limit
from sweep_runner.spec.loggers import LOGGERS
from sweep_runner.spec.space import Parameter, Scalar
from sweep_runner.spec.strategies import NoPruner, Pruner, Sampler, sampler_options
from trainables.formats import MAX_DROP, FormatName
from trainables.units import Size

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)


def _share(value: float) -> float:
    """Ray hands out whole devices, or a fraction of one."""
    if value > 1 and value != int(value):
        raise ValueError(f"{value} is neither whole nor a fraction below 1")
    return value


Share = Annotated[float, AfterValidator(_share)]


class Objective(_Section):
    """What the sweep looks for."""

    metric: str = Field("val_accuracy", description="A metric that the trainable reports each epoch.")
    mode: Literal["min", "max"] = Field("max", description="max or min.")
    also: tuple[Goal, ...] = Field(
        (),
        strict=False,  # lists, as YAML has them
        max_length=3,
        description="Further objectives: the result is then the Pareto front (trials that no other beats in all "
        "objectives), and the first objective chooses among them. Written as a list: objective: "
        "[val_accuracy, onnx_latency_ms].",
    )

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is strictly better than `other`."""
        return one > other if self.mode == "max" else one < other


class Search(_Section):
    """How settings are proposed."""

    sampler: Sampler = Field("guided", description="Algorithm that proposes configurations.")
    trials: int = Field(20, ge=1, description="Number of trials, baselines included. A grid may end earlier.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the proposals, and of every trial's own seed.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the sampler: see its table.")
    prune_baselines: bool = Field(
        True, description="false: baselines run to their end regardless of the pruner, so that they can be compared."
    )
    stop: Stop | None = Field(None, description="Conditions that end the search before all trials have run.")
    confirm: Confirm | None = Field(
        None, description="Repeats the best trials with other seeds before the winner is chosen."
    )

    @model_validator(mode="after")
    def _options_fit_the_sampler(self) -> Self:
        try:
            sampler_options(self.sampler, self.options)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ValueError(f"options of {self.sampler}: {key}: {first['msg']}") from error
        return self


Seconds = Annotated[float, Field(gt=0)]


SPACE_RESOURCES = frozenset({"workers"})
"""Keys of `resources` that a parameter of the space may set: no trainable sees them in its config."""


class Resources(_Section):
    """What one trial gets, and how many run at a time."""

    cpus: Annotated[Share, Field(gt=0)] = Field(1, description="CPUs per worker: whole, or a fraction below 1.")
    gpus: Literal["auto"] | Annotated[Share, Field(ge=0)] = Field(
        "auto",
        description="GPUs per worker: whole, a fraction below 1, or auto: none without a GPU; on one machine a share "
        "of one, as small as gives most images per second of all trials in sum (measured while the sweep runs); on a "
        "cluster, or with several workers, one.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Processes that train one trial together, each with these CPUs and GPUs. May be in the space, "
        "too: each trial then has its own number.",
    )
    worker_timeout_s: Seconds = Field(
        600.0,
        description="With several workers: an attempt fails if one worker keeps the others waiting for so long.",
    )
    max_concurrent: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="Trials at a time; auto: as many as the CPUs and GPUs allow."
    )
    max_failures: int = Field(2, ge=0, description="Number of retries of a failed trial.")
    trial_timeout_s: Seconds | None = Field(
        None, description="Time limit of an attempt, which then counts as failed. Default: no limit."
    )
    report_timeout_s: Seconds | None = Field(
        None,
        description="Time limit between reports of an attempt, which then counts as failed. The first report "
        "includes the worker's start and reading the data. Default: no limit.",
    )
    min_free_disk: Size = Field(
        500_000_000,
        description='Free space of the results folder\'s disk below which no trial starts, such as "2GB".',
    )

    @property
    def num_threads(self) -> int:
        """CPU threads of one worker."""
        return max(1, int(self.cpus))


class Keep(_Section):
    """Which checkpoints stay on disk, across the whole sweep."""

    best: int = Field(3, ge=1, description="Number of best trials whose best checkpoint is kept.")
    baselines: bool = Field(
        True, description="Keep the best checkpoint of each baseline, too, and evaluate it on val when the sweep ends."
    )
    paused: int = Field(
        16,
        ge=1,
        description="With the pruner promotion: number of paused trials (the most likely to continue) that keep "
        "their checkpoints; the others end as PRUNED.",
    )


SOUP_CHECKPOINTS = 8
"""Of the best trials, that are kept for `export.soup`: those of other networks among them are of no use to it."""


class Export(_Section):
    """What the best model becomes."""

    formats: tuple[FormatName | Literal["auto"], ...] = Field(
        ("onnx",),
        description="Formats of the model package: onnx, and of the same model onnx-int8, onnx-fp16 and openvino. Each "
        "answers as well on val as the float model (export.max_drop), or is left out. auto: those that are faster on "
        "this machine, too. []: no package.",
    )
    max_drop: float = Field(
        MAX_DROP,
        ge=0,
        le=100,
        description="The most percentage points of accuracy on val (with several labels: of the mean F1 score of an "
        "example) that another format than onnx may lose against it.",
    )
    prefer: Literal["smaller", "faster"] | None = Field(
        None,
        description="Among the trials that are not significantly worse than the best and have a checkpoint "
        "(keep.best), publish the smallest (num_parameters) or the fastest (measured latency, else "
        "seconds per epoch) instead of the best.",
    )
    refit: bool | None = Field(
        None,
        description="true: the best model is retrained on train and val together, up to its best epoch, then tested "
        "and published; false: the checkpoint of the best epoch is. Default: only if a trial has no "
        "single model, as with data.split.folds.",
    )
    soup: Literal["auto"] | None = Field(
        None,
        description="auto: when the search has ended, the weights of kept checkpoints of one network that began from "
        "the same weights are averaged (greedy soup), and the mean is published instead of the single model where it "
        f"is better on val by more than chance. At least {SOUP_CHECKPOINTS} checkpoints are kept for it.",
    )
    ensemble: int | None = Field(
        None,
        ge=2,
        le=16,
        description="The models of this many best trials, which keep their checkpoints, answer together in one ONNX "
        "file (the mean of their probabilities). It is published instead of the single model where it is better on val "
        "by more than chance and keeps the limits.",
    )
    temperature: bool = Field(
        False,
        description="true: the exported model divides its logits by a temperature that is fitted on val, so that its "
        "probabilities say how often it is right. The predicted classes stay what they are.",
    )
    latency: bool = Field(
        True,
        description="Measure the latency of the models of the best trials and of the baselines on this machine, when "
        "the sweep ends: once per architecture.",
    )


class Notify(_Section):
    """Who is told when the sweep has ended or failed. Not of an interruption: whoever stopped it knows."""

    command: str | None = Field(
        None,
        description="A shell command; it gets SWEEP_SWEEP, SWEEP_STATE, SWEEP_BEST_VALUE, SWEEP_FOLDER, ... "
        "as environment variables, and the same as JSON on standard input.",
    )
    webhook: str | None = Field(None, pattern=r"^https?://", description="URL that gets the same JSON by POST.")
    timeout_s: Annotated[float, Field(gt=0, le=300)] = Field(10.0, description="Time limit of either.")


def _logger(name: str) -> str:
    if name not in LOGGERS and not all(name.partition(":")):
        raise ValueError(f'{name!r} is none of {", ".join(LOGGERS)}, and no "package.module:attribute"')
    return name


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", host) or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'{text!r} is no "HOST:PORT", such as "0.0.0.0:9105"')
    return text


class SweepSpec(_Section):
    """One sweep file, resolved: every default filled in, every value checked."""

    name: str = Field(pattern=NAME_PATTERN, description="Name of the sweep, and of its folder under results/.")
    data: dict[str, Any] = Field(
        default_factory=dict, description="What the trainable reads; the trainable defines the keys."
    )
    trainable: str = Field("image_classifier", description='Built-in name, or "package.module:attribute".')
    fixed: dict[str, Any] = Field(default_factory=dict, description="Hyperparameters that all trials share.")
    space: dict[str, Parameter] = Field(
        default_factory=dict,
        max_length=200,
        description="Hyperparameters that the search chooses. Default: what `sweep init` would write, which is "
        "printed and recorded; {}: none, so that one trial runs.",
    )
    baselines: dict[str, dict[str, Scalar]] = Field(
        default_factory=dict, description="Known configurations, by name; they run first."
    )
    objective: Objective = Field(default_factory=Objective)
    limits: dict[str, Limit] = Field(
        default_factory=dict,
        description="Upper limits on facts that are known before training, such as num_parameters: 5e6 "
        "or onnx_latency_ms: {max: 20, batch: 1, threads: 1}. Trials above a limit are INFEASIBLE, and are not "
        "trained.",
    )
    search: Search = Field(default_factory=Search)
    pruner: Pruner = Field(default_factory=NoPruner)
    resources: Resources = Field(default_factory=Resources)
    cluster: Cluster = Field(default_factory=Cluster)
    keep: Keep = Field(default_factory=Keep)
    export: Export = Field(default_factory=Export)
    loggers: tuple[Annotated[str, AfterValidator(_logger)], ...] = Field(
        (),
        description='Experiment trackers: csv, tensorboard, mlflow, wandb, "package.module:attribute".',
    )
    notify: Notify = Field(default_factory=Notify)
    dashboard: bool = Field(True, description="Start Ray's dashboard and print its address.")
    metrics: bool | Annotated[str, AfterValidator(_address)] = Field(
        True,
        description="Serve Prometheus metrics while the sweep runs: true: on a free port, for this machine only; "
        'such as "0.0.0.0:9105": on this HOST:PORT; false: no. Readers need the token; see `sweep metrics`.',
    )

    def config_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The trainable's config of one trial, before its defaults: the fixed keys, then the params."""
        return {**self.fixed, **{name: value for name, value in params.items() if name not in SPACE_RESOURCES}}

    def workers_of(self, params: Mapping[str, Any]) -> int:
        """How many workers a trial has: as its params say, else as `resources` does."""
        return int(params.get("workers", self.resources.workers))
