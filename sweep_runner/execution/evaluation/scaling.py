"""The temperature of a model that is exported: fitted on val, judged on test where that was evaluated."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sweep_runner.results.measures import calibration_error, fit_temperature, judged, log_loss, with_temperature


def scaling(val: pa.Table | None, test: pa.Table | None) -> dict[str, Any]:
    """What a package says of its temperature, JSON-ready; `export` applies `value`.

    Args:
        val: the model's predictions on val, or out of fold; None: they are not there.
        test: its predictions on test; None: it was not evaluated there.

    Returns:
        Without `value` where there is none: `why_not` says why.
    """
    on_val = None if val is None else judged(val)
    if on_val is None:
        return {"why_not": "the predictions of this model on val, on which a temperature is fitted, are not there"}
    temperature = fit_temperature(on_val)
    if temperature is None:
        return {"why_not": f"all {len(on_val.truth)} val examples are correct, so it cannot be fitted"}
    told: dict[str, Any] = {"value": temperature, "num_examples": len(on_val.truth)}
    for side in ("val", "test"):
        found = on_val if side == "val" else None if test is None else judged(test)
        if found is not None:
            told |= {
                f"{side}_{name}": [measure(found.probabilities, found), measure(scaled, found)]
                for scaled in (with_temperature(found, temperature),)
                for name, measure in (("log_loss", log_loss), ("calibration_error", calibration_error))
            }
    return told
