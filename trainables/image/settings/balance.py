"""The `data.balance` section, which may be written short: `balance: {person: mean}`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Measure = Literal["mean", "median", "min"]
Cap = Measure | Annotated[int, Field(ge=1)]
Strategy = Literal["cap", "class_weights", "sampler"]

_CAP_RULE = "a cap is mean, median or min (of the class counts), or a whole number of at least 1"


def _caps(value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(name): _cap(cap, f"{name}: ") for name, cap in value.items()}
    return _cap(value)


def _cap(cap: Any, place: str = "") -> Any:
    whole = isinstance(cap, int) and not isinstance(cap, bool) and cap >= 1
    if whole or (isinstance(cap, str) and cap in get_args(Measure)):
        return cap
    raise ValueError(f"{place}{cap!r} is not a cap{_meant(place.rstrip(': ') or cap)}: {_CAP_RULE}")


def _meant(written: Any) -> str:
    """The strategy that a misspelt word looks like."""
    near = get_close_matches(str(written).lower(), get_args(Strategy), n=1, cutoff=0.8)
    return f" (did you mean balance: {near[0]}?)" if near else ""


class Balance(BaseModel):
    """What is done against unequal class counts in train. Caps go with every strategy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = Field(
        "cap",
        description="cap: only caps; class_weights: higher loss weight for rare classes; sampler: rare classes are "
        "sampled more often.",
    )
    caps: Annotated[
        dict[str, Cap] | Cap, BeforeValidator(_caps, json_schema_input_type=dict[str, Cap] | Cap | None)
    ] = Field(
        default_factory=dict,
        description="Maximum number of training examples of one class ({person: mean}), or of every class (mean).",
    )
    power: float = Field(
        1.0,
        gt=0,
        le=1,
        description="class_weights, sampler: 1 balances classes completely, 0.5 by the square root.",
    )


def balance_form(value: Any) -> Any:
    """The long form of `balance`: a strategy's name, a cap or caps by class may stand alone."""
    if value is None:
        return {}
    if isinstance(value, Balance):
        return value
    if isinstance(value, str) and value in get_args(Strategy):
        return {"strategy": value}
    if isinstance(value, Mapping) and any(key in Balance.model_fields for key in value):
        return value
    if isinstance(value, Mapping | int):
        return {"caps": _caps(value)}
    if value in get_args(Measure):
        return {"caps": value}
    strategies = ", ".join(get_args(Strategy))
    raise ValueError(f"{value!r} is not a strategy ({strategies}) and not a cap{_meant(value)}: {_CAP_RULE}")
