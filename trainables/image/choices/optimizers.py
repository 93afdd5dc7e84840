"""The optimizers that `optimizer` names. Those of timm are known without importing it, so that checking stays quick."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.util import find_spec

_KNOWN = """
    adabelief adadelta adafactor adafactorbv adagrad adam adamax adamc adamp adamuon adamw adan adanw adopt adoptw
    clion lamb lambw laprop larc lars lion madgrad madgradw mars momentum muon nadam nadamw nesterov novograd
    radabelief radam rmsprop rmsproptf sgd sgdp sgdw
"""
OPTIMIZERS: frozenset[str] = frozenset(_KNOWN.split())
"""Names that need no look at timm. They mean what they mean in timm, but that sgd is without Nesterov's momentum
unless `nesterov` says so."""

_HERE = "trainables.image.training.optim:"

MADE_BY: Mapping[str, str] = {
    "adam": _HERE + "adam",
    "adamw": _HERE + "adamw",
    "sgd": _HERE + "sgd",
}
"""Those that timm does not make: "module:function" of `(parameter groups, ImageConfig) -> Optimizer`."""

_UNUSABLE = {"adahessian": "it needs second derivatives, which are not computed here: try adamw, lion or muon"}
_NEED_PACKAGE = {"bnb": "bitsandbytes", "fused": "apex"}


def optimizer_problem(name: str) -> str | None:
    """Why there is no such optimizer here, with the nearest names; None when there is.

    Args:
        name: as in the sweep file. `lookahead_<name>` is Lookahead (Zhang et al. 2019) around another one.
    """
    inner = name.removeprefix("lookahead_")
    if name in MADE_BY or inner in OPTIMIZERS:
        return None
    if inner in _UNUSABLE:
        return f"{name} cannot be used: {_UNUSABLE[inner]}"
    for prefix, package in _NEED_PACKAGE.items():
        if inner.startswith(prefix) and find_spec(package) is None:
            return (
                f"{name} needs the package {package} and a GPU, and the package is not installed: try {_plain(inner)}"
            )
    from timm.optim import list_optimizers

    known = list_optimizers()
    if inner in known:
        return None
    near = difflib.get_close_matches(inner.lower(), known, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else "see timm.optim.list_optimizers() for all of them"
    return f"no optimizer {name!r}: {hint}"


def _plain(name: str) -> str:
    plain = name.removeprefix("bnb").removeprefix("fused").removesuffix("8bit")
    return plain if plain in OPTIMIZERS else "adamw"
