"""CMA-ES as Optuna has it, but without trusting what is pickled in the study's file."""

from __future__ import annotations

import io
import pickle
from typing import Any

from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial

from sweep_runner.errors import SweepError

# All that the state of `cmaes.CMA` is made of. numpy 2 calls `numpy.core` `numpy._core`.
_ALLOWED = {
    ("cmaes._cma", "CMA"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
}


class SafeCmaEsSampler(CmaEsSampler):
    """Optuna's CMA-ES, whose state is a pickle in the study's file; here it can hold numbers only.

    A results folder may come from somebody else, and a pickle can run anything when it is read.
    """

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            chunks = {key: text for key, text in trial.system_attrs.items() if key.startswith(self._attr_key_optimizer)}
            if chunks:
                return _NumbersOnly(io.BytesIO(bytes.fromhex(self._concat_optimizer_attrs(chunks)))).load()
        return None


class _NumbersOnly(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise SweepError(
                f"the study's file holds {module_name}.{global_name}, which is no part of a CMA-ES state: "
                "it was not written by this program; nothing of it was run"
            )
        return super().find_class(module_name, global_name)
