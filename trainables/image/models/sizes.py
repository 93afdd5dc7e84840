"""How large models are, known without torch: for the forecast of what a sweep needs on disk."""

from __future__ import annotations

from trainables.image.models.survey import survey
from trainables.image.models.table import MODELS, OWN_NETS, timm_name

_BUFFERS = 1.01
"""Statistics of batch normalisation and other buffers come to less than this over the parameters."""
_MLP6_OWN = 520_424  # without its first layer
_MLP6_WIDTH, _CNN_WIDTH = 256, 32  # where the file names none


def num_values(model: str, input_resolution: int, width: int | None = None) -> int | None:
    """How many parameters and buffers a model has, about.

    Args:
        model: its name.
        input_resolution: in pixels.
        width: of a net of our own; None: its default.

    Returns:
        None for a model that nobody has counted.
    """
    name = timm_name(model)
    if name == "mlp6":
        scale = (width or _MLP6_WIDTH) / _MLP6_WIDTH
        return int(3 * input_resolution**2 * _MLP6_WIDTH * scale + _MLP6_OWN * max(1.0, scale) ** 2)
    counted = MODELS[name].parameters if name in MODELS else int(survey().get(name, {}).get("parameters") or 0)
    if not counted:
        return None
    scale = max(1.0, (width or _CNN_WIDTH) / _CNN_WIDTH) ** 2 if name in OWN_NETS else 1.0
    return int(counted * _BUFFERS * scale)
