"""How a search ends before its trials are used up, and what is run again then: `search.stop`, `search.confirm`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from sweep_runner.spec.strategies import Options
from trainables.units import Duration


class Stop(Options):
    """What ends the search, whichever is first. `sweep extend` goes on afterwards."""

    after: Duration | None = Field(
        None,
        description="Wall-clock time of the whole sweep, such as 2h, 90m or 1h30m: the search ends early enough for "
        "the model to be ready by then. Pauses between runs do not count.",
    )
    at: float | None = Field(None, allow_inf_nan=False, description="Target value of the objective.")
    no_gain: int | None = Field(
        None, ge=1, description="Number of trials that ended or paused without improving the best value."
    )

    @model_validator(mode="after")
    def _a_rule(self) -> Self:
        if self.after is None and self.at is None and self.no_gain is None:
            raise ValueError("search.stop needs after, at or no_gain")
        return self


class Confirm(Options):
    """The best trials are run again with other seeds when the search has ended, and ranked by the mean."""

    top: int = Field(5, ge=1, description="Number of best trials to repeat.")
    seeds: int = Field(3, ge=2, description="Runs of each, the original one included.")
