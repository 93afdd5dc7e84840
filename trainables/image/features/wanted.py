"""Whether a trial may train on stored features, by its configuration alone."""

from __future__ import annotations

from trainables.image.config import ImageConfig

_POOLINGS = ("native", "avg", "max", "avgmax", "catavgmax", "token")
"""Those without anything to train; gem and map learn, so that their backbone has to run."""
_OF_A_TRIAL = ("mixup", "cutmix", "drop_path")
"""What is random in a way that no stored feature can stand for: it depends on the batch, or is in the backbone."""


def wants_features(config: ImageConfig) -> bool:
    """Whether a frozen backbone gives the same in every epoch, or (`feature_views`) may: each version of an image."""
    return (
        config.features == "auto"
        and config.finetune == "head"
        and config.pooling in _POOLINGS
        and not any(getattr(config, name) for name in _OF_A_TRIAL)
        and (config.feature_views > 0 or not config.augments)
    )


def num_views(config: ImageConfig) -> int:
    """How many versions of each training image features are of: 0 when none is changed."""
    return config.feature_views if config.augments else 0
