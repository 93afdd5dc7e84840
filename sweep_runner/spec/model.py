"""The sweep file as frozen models: every key, its type, its default, one line of help each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sweep_runner.spec.cluster import Cluster
from sweep_runner.spec.ending import Confirm, Stop
from sweep_runner.spec.goals import Goal, Limit
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
    mode: Literal["min", "max"] = Field("max", description="Which way is better.")
    also: tuple[Goal, ...] = Field(
        (),
        strict=False,  # lists, as YAML has them
        max_length=3,
        description="Further objectives: then trials that none beats in all of them (the Pareto front) are the answer, "
        "and the first objective chooses among them. Written as a list: objective: [val_accuracy, onnx_latency_ms].",
    )

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is strictly better than `other`."""
        return one > other if self.mode == "max" else one < other


class Search(_Section):
    """How settings are proposed."""

    sampler: Sampler = Field("guided", description="The algorithm that proposes settings.")
    trials: int = Field(20, ge=1, description="How many trials, baselines included. A grid may end before.")
    seed: int = Field(0, ge=0, lt=2**32, description="Every trial's own seed and every proposal come from it.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the sampler: see its own table.")
    prune_baselines: bool = Field(
        True, description="false: baselines run to their end whatever the pruner says, so that they can be compared."
    )
    stop: Stop | None = Field(None, description="What ends the search before all trials have run.")
    confirm: Confirm | None = Field(
        None, description="Runs the best trials again with other seeds before the winner is chosen."
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
        description="Processes that train one trial together, each with these CPUs and GPUs. May be in the space, too: "
        "then each trial has its own number, and this one holds where the space has none.",
    )
    worker_timeout_s: Seconds = Field(
        600.0,
        description="Of several workers: one that keeps the others waiting for so long, or answers nothing, ends the "
        "attempt, which counts as failed.",
    )
    max_concurrent: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="Trials at a time; auto: as many as the CPUs and GPUs allow."
    )
    max_failures: int = Field(2, ge=0, description="How often a trial that failed is tried again.")
    trial_timeout_s: Seconds | None = Field(
        None, description="An attempt that takes longer is ended, and counts as failed. Default: no limit."
    )
    report_timeout_s: Seconds | None = Field(
        None,
        description="An attempt that reports nothing for so long is ended, and counts as failed. "
        "The first report's time includes the worker's start and reading the data. Default: no limit.",
    )
    min_free_disk: Size = Field(
        500_000_000,
        description='No trial is started while the results folder\'s disk has less room, such as "2GB".',
    )

    @property
    def num_threads(self) -> int:
        """CPU threads of one worker."""
        return max(1, int(self.cpus))


class Keep(_Section):
    """Which checkpoints stay on disk, across the whole sweep."""

    best: int = Field(3, ge=1, description="The best checkpoint of this many best trials stays.")
    baselines: bool = Field(
        True, description="The best checkpoint of each baseline stays, too; it is evaluated on val when the sweep ends."
    )
    paused: int = Field(
        16,
        ge=1,
        description="With the pruner promotion: this many paused trials, those that are nearest to going on, keep the "
        "checkpoints from which they can; the others end as PRUNED.",
    )


SOUP_CHECKPOINTS = 8
"""Of the best trials, that are kept for `export.soup`: those of other networks among them are of no use to it."""


class Export(_Section):
    """What the best model becomes."""

    formats: tuple[FormatName | Literal["auto"], ...] = Field(
        ("onnx",),
        description="Formats of the model package: onnx, and of the same model onnx-int8 and onnx-fp16. Each answers "
        "as well on val as the float model (export.max_drop), or is left out. auto: those that are faster on this "
        "machine, too. []: no package.",
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
        description="Of the trials that cannot be told apart from the best one and have a checkpoint (keep.best), "
        "publish the smaller (num_parameters) or the faster (measured latency; seconds per epoch where that was not "
        "measured) instead of the best.",
    )
    refit: bool | None = Field(
        None,
        description="true: the best model is trained anew on train and val together, for as many epochs as its best "
        "epoch says, and that is what is tested and published; false: the checkpoint of the best epoch is. By default "
        "only where a trial leaves no single model, as with data.split.folds.",
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
        description="Measure how long the models of the best trials and of the baselines take on this machine, when "
        "the sweep has ended: once per architecture.",
    )


class Notify(_Section):
    """Who is told when the sweep has ended or failed. Not of an interruption: whoever stopped it knows."""

    command: str | None = Field(
        None,
        description="A shell command; it gets SWEEP_SWEEP, SWEEP_STATE, SWEEP_BEST_VALUE, SWEEP_FOLDER, ... "
        "as environment variables, and the same as JSON on standard input.",
    )
    webhook: str | None = Field(None, pattern=r"^https?://", description="An address that gets the same JSON by POST.")
    timeout_s: Annotated[float, Field(gt=0, le=300)] = Field(10.0, description="How long either may take.")


LOGGERS = ("csv", "tensorboard", "mlflow", "wandb")


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

    name: str = Field(pattern=NAME_PATTERN, description="Names the folder under results/.")
    data: dict[str, Any] = Field(
        default_factory=dict, description="What the trainable reads; its keys are the trainable's."
    )
    trainable: str = Field("image_classifier", description='Built-in name, or "package.module:attribute".')
    fixed: dict[str, Any] = Field(default_factory=dict, description="Hyperparameters that all trials share.")
    space: dict[str, Parameter] = Field(
        default_factory=dict,
        max_length=200,
        description="Hyperparameters that the search chooses. Left out: what `sweep init` would write, which is "
        "printed and recorded; {}: none, so that one trial runs.",
    )
    baselines: dict[str, dict[str, Scalar]] = Field(
        default_factory=dict, description="Known configurations, by name; they run first."
    )
    objective: Objective = Field(default_factory=Objective)
    limits: dict[str, Limit] = Field(
        default_factory=dict,
        description="The most that a model may have of what is known before it is trained, such as num_parameters: 5e6 "
        "or onnx_latency_ms: {max: 20, batch: 1, threads: 1}. Trials above are INFEASIBLE, and are not trained.",
    )
    search: Search = Field(default_factory=Search)
    pruner: Pruner = Field(default_factory=NoPruner)
    resources: Resources = Field(default_factory=Resources)
    cluster: Cluster = Field(default_factory=Cluster)
    keep: Keep = Field(default_factory=Keep)
    export: Export = Field(default_factory=Export)
    loggers: tuple[Annotated[str, AfterValidator(_logger)], ...] = Field(
        (),
        description='Trackers that are told what happens: csv, tensorboard, mlflow, wandb, "package.module:attribute".',
    )
    notify: Notify = Field(default_factory=Notify)
    dashboard: bool = Field(True, description="Start Ray's dashboard and print its address.")
    metrics: bool | Annotated[str, AfterValidator(_address)] = Field(
        True,
        description="Serve Prometheus metrics while the sweep runs: true on a free port of this machine alone, "
        '"HOST:PORT" there, such as "0.0.0.0:9105", false not at all. They ask for the token; see `sweep metrics`.',
    )

    def config_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The trainable's config of one trial, before its defaults: the fixed keys, then the params."""
        return {**self.fixed, **{name: value for name, value in params.items() if name not in SPACE_RESOURCES}}

    def workers_of(self, params: Mapping[str, Any]) -> int:
        """How many workers a trial has: as its params say, else as `resources` does."""
        return int(params.get("workers", self.resources.workers))
