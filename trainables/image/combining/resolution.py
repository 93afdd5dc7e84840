"""Runs trained weights at another resolution than they were trained at.

A network that was trained on crops or small pictures may be more accurate, or as accurate and cheaper, at another
resolution (Touvron et al. 2019, "Fixing the train-test resolution discrepancy", arXiv:1906.06423).
"""

from __future__ import annotations

import timm

from trainables.errors import TrainableError
from trainables.image.checks.combinations import config_problems
from trainables.image.config import ImageConfig
from trainables.image.models.table import timm_name


def at_resolution(config: ImageConfig, resolution: int) -> ImageConfig:
    """The config with another resolution.

    Raises:
        TrainableError: the network cannot take such pictures with the weights that it has.
    """
    name = timm_name(config.model)
    source = timm.models.get_pretrained_cfg(name)
    if source is not None and source.fixed_input_size and resolution != config.input_resolution:
        raise TrainableError(
            f"{config.model} has weights for each position of a {config.input_resolution} px image: it takes "
            "no other resolution"
        )
    field = ImageConfig.model_fields["input_resolution"]
    least, most = (next(getattr(each, key) for each in field.metadata if hasattr(each, key)) for key in ("ge", "le"))
    if not least <= resolution <= most:
        raise TrainableError(f"resolution {resolution}: it must be from {least} to {most} pixels")
    other = config.model_copy(update={"input_resolution": resolution})
    if problems := [each.message for each in config_problems(other) if each.fatal]:
        raise TrainableError("; ".join(problems))
    return other
