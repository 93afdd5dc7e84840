"""The samplers and pruners of a sweep file: their options, and for each name the function in `sweep_runner.search`.

`SAMPLERS` and `PRUNERS` are the tables; schema, reference and checks follow from them. They name functions as
"module:function", because a sweep file is checked without Optuna.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, Union

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GuidedOptions(Options):
    usual: bool = Field(True, description="Begin with the usual values of each model, if the trainable knows them.")
    uniform: float = Field(
        0.1, ge=0, le=1, description="Share of proposals (and candidates) drawn from the whole space."
    )
    candidates: int = Field(48, ge=1, description="Candidates drawn for each proposal.")


class TpeOptions(Options):
    startup_trials: int | None = Field(
        None,
        ge=0,
        description="Random trials before the model is used. Default: two per parameter, from 5 to 10.",
    )
    candidates: int = Field(24, ge=1, description="Candidates drawn for each proposal.")
    multivariate: bool = Field(True, description="Model the parameters jointly.")
    group: bool = Field(False, description="Split conditional parameters into groups (with multivariate).")
    constant_liar: bool = Field(True, description="Count running trials as bad, so that parallel proposals differ.")


class RandomOptions(Options):
    pass


class GridOptions(Options):
    points: int | None = Field(None, ge=2, description="Number of values of a float range without step.")


class QmcOptions(Options):
    sequence: Literal["sobol", "halton"] = Field("sobol", description="The low-discrepancy sequence.")
    scramble: bool = Field(True, description="Randomise the sequence by the seed.")


class CmaEsOptions(Options):
    startup_trials: int = Field(1, ge=1, description="Random trials before the evolution starts.")
    sigma0: float | None = Field(None, gt=0, description="Initial step size. Default: a sixth of the range.")
    popsize: int | None = Field(None, ge=4, description="Trials per generation.")


class GpOptions(Options):
    startup_trials: int | None = Field(
        None,
        ge=1,
        description="Random trials before the process is fitted. Default: a quarter of the trials, from 4 to 10.",
    )
    deterministic_objective: bool = Field(False, description="Assume that a configuration always gives the same value.")


class NsgaIIOptions(Options):
    population_size: int | None = Field(
        None, ge=2, description="Trials per generation. Default: a quarter of the trials, from 4 to 50."
    )
    mutation_prob: float | None = Field(None, ge=0, le=1, description="Default: 1 / number of parameters.")
    crossover_prob: float = Field(0.9, ge=0, le=1, description="Probability of mixing two parents.")


@dataclass(frozen=True)
class SamplerChoice:
    """A sampler.

    Attributes:
        options: what a sweep file may say of it.
        made_by: "module:function" of `(SweepSpec, options, IndexOf) -> optuna.samplers.BaseSampler`.
    """

    options: type[Options]
    made_by: str


_SAMPLERS = "sweep_runner.search.samplers:"

SAMPLERS: Mapping[str, SamplerChoice] = {
    "guided": SamplerChoice(GuidedOptions, _SAMPLERS + "guided"),
    "tpe": SamplerChoice(TpeOptions, _SAMPLERS + "tpe"),
    "random": SamplerChoice(RandomOptions, _SAMPLERS + "random_points"),
    "grid": SamplerChoice(GridOptions, _SAMPLERS + "grid"),
    "qmc": SamplerChoice(QmcOptions, _SAMPLERS + "qmc"),
    "cma-es": SamplerChoice(CmaEsOptions, _SAMPLERS + "cma_es"),
    "gp": SamplerChoice(GpOptions, _SAMPLERS + "gp"),
    "nsga-ii": SamplerChoice(NsgaIIOptions, _SAMPLERS + "nsga_ii"),
}

if TYPE_CHECKING:  # mypy takes no table for a Literal
    Sampler: TypeAlias = str
else:
    Sampler = Literal[tuple(SAMPLERS)]


class PrunerOptions(Options):
    """What every pruner has: its name."""

    kind: str


class NoPruner(PrunerOptions):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class SuccessiveHalving(PrunerOptions):
    """Asynchronous successive halving: of those that have reached a rung the best 1/reduction_factor go on."""

    kind: Literal["successive_halving"]
    min_epochs: int = Field(1, ge=1, description="The first rung.")
    reduction_factor: int = Field(
        3, ge=2, description="Rungs at min_epochs × powers of this factor; 1 in this many trials continues."
    )
    min_early_stopping_rate: int = Field(0, ge=0, description="Number of first rungs to skip.")
    recheck: bool = Field(
        True,
        description="Compare a trial, at each report, with all that have reached its rungs by then; false: only when "
        "it reaches a rung.",
    )


class Hyperband(PrunerOptions):
    """Several successive halvings that differ in their first rung."""

    kind: Literal["hyperband"]
    min_epochs: int = Field(1, ge=1, description="The smallest first rung.")
    max_epochs: int | None = Field(None, ge=1, description="Maximum number of epochs. Default: the sweep's `epochs`.")
    reduction_factor: int = Field(3, ge=2, description="As for successive halving.")
    recheck: bool = Field(True, description="As for successive halving.")


class Promotion(PrunerOptions):
    """A trial pauses at each rung; the best 1/reduction_factor of those like it go on from their checkpoints."""

    kind: Literal["promotion"]
    min_epochs: int | None = Field(
        None,
        ge=1,
        description="The first rung. Default: the sweep's maximum number of epochs / reduction_factor, rounded up.",
    )
    reduction_factor: int = Field(
        3,
        ge=2,
        description="Rungs at min_epochs × powers of this factor; of the trials at a rung, 1 in this many continues.",
    )
    group_by: tuple[str, ...] | None = Field(
        None,
        strict=False,  # lists, as YAML has them
        description="Parameters of the space: a trial competes with trials that have the same values of them. "
        "Default: model, if it is in the space, because models differ in how fast they learn. []: with "
        "all trials.",
    )

    def filled_in(self, space: Collection[str], most_epochs: int | None) -> Self:
        """With the defaults that come from elsewhere in the sweep.

        Args:
            space: the names of its parameters.
            most_epochs: of a trial; None: not known, then `min_epochs` may stay None.
        """
        first = self.min_epochs
        if first is None and most_epochs is not None:
            first = math.ceil(most_epochs / self.reduction_factor)
        groups = self.group_by if self.group_by is not None else tuple({"model"} & set(space))
        return self.model_copy(update={"min_epochs": first, "group_by": groups})


class Percentile(PrunerOptions):
    """Stops a trial whose best value so far is below this percentile of the others at the same epoch."""

    kind: Literal["percentile"]
    percentile: float = Field(25.0, ge=0, le=100, description="Percentage of the best trials that continue.")
    startup_trials: int = Field(5, ge=0, description="Number of finished trials before any trial is stopped.")
    warmup_epochs: int = Field(0, ge=0, description="Number of first epochs in which a trial is not stopped.")
    interval_epochs: int = Field(1, ge=1, description="Epochs between two decisions.")
    min_trials: int = Field(1, ge=1, description="Number of trials that must have reported the epoch.")


class Median(PrunerOptions):
    """Percentile with 50."""

    kind: Literal["median"]
    startup_trials: int = Field(5, ge=0, description="Number of finished trials before any trial is stopped.")
    warmup_epochs: int = Field(0, ge=0, description="Number of first epochs in which a trial is not stopped.")
    interval_epochs: int = Field(1, ge=1, description="Epochs between two decisions.")
    min_trials: int = Field(1, ge=1, description="Number of trials that must have reported the epoch.")


class Threshold(PrunerOptions):
    """Stops a trial whose value leaves the bounds."""

    kind: Literal["threshold"]
    lower: float | None = Field(None, description="Stop below this.")
    upper: float | None = Field(None, description="Stop above this.")
    warmup_epochs: int = Field(0, ge=0, description="Number of first epochs in which a trial is not stopped.")
    interval_epochs: int = Field(1, ge=1, description="Epochs between two decisions.")

    @model_validator(mode="after")
    def _a_bound(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("a threshold pruner needs lower or upper")
        return self


class Patient(PrunerOptions):
    """Stops a trial that has not gained for `patience` epochs; with `inner`, only if that pruner agrees."""

    kind: Literal["patient"]
    patience: int = Field(ge=0, description="Epochs without improvement.")
    min_delta: float = Field(0.0, ge=0, description="Smallest change that counts as improvement.")
    inner: SuccessiveHalving | Hyperband | Percentile | Median | Threshold | None = Field(
        None, discriminator="kind", description="Pruner that must agree."
    )


_PRUNERS = "sweep_runner.search.pruners:"

PRUNERS: Mapping[type[PrunerOptions], str] = {
    NoPruner: _PRUNERS + "never",
    Promotion: _PRUNERS + "never",  # it pauses trials instead of stopping them: search/promotion.py
    SuccessiveHalving: _PRUNERS + "successive_halving",
    Hyperband: _PRUNERS + "hyperband",
    Percentile: _PRUNERS + "percentile",
    Median: _PRUNERS + "percentile",
    Threshold: _PRUNERS + "threshold",
    Patient: _PRUNERS + "patient",
}
"""By the class of its options: "module:function" of `(options, Case) -> reason or None`."""

if TYPE_CHECKING:
    Pruner: TypeAlias = PrunerOptions
else:
    Pruner = Annotated[Union[tuple(PRUNERS)], Field(discriminator="kind")]  # noqa: UP007


def sampler_options(sampler: Sampler, options: dict[str, Any]) -> Options:
    """The validated options of a sampler.

    Raises:
        pydantic.ValidationError: an unknown option or an impossible value.
    """
    return SAMPLERS[sampler].options.model_validate(options)
