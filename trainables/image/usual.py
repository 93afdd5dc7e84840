"""Usual values of hyperparameters, by model, optimizer and what is trained. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.image.config import ImageConfig

# Rows: kind of optimizer; columns: what is trained. adamw and sgd: what papers and timm's scripts use, scaled to
# batches of 32; heads: the best of the recorded curves in benchmarks/curves.
_LEARNING_RATES: Mapping[str, Mapping[str, float]] = {
    "adam": {"head": 1e-3, "full": 5e-4, "scratch": 1e-3},
    "sgd": {"head": 3e-3, "full": 0.01, "scratch": 0.05},
    "sign": {"head": 1e-4, "full": 5e-5, "scratch": 1e-4},
}
_LIKE_SGD = frozenset({"sgd", "momentum", "nesterov", "sgdp", "sgdw", "lars", "larc", "adadelta"})
_LIKE_SIGN = frozenset({"lion", "clion"})
TRANSFORMERS = ("vit", "swin", "deit", "beit", "convnext", "eva", "hiera", "pvt", "maxvit", "coat", "xcit")
"""Of these names fine-tuning all of a network wants a fifth of the learning rate."""
_OWN = frozenset({"simple_cnn3", "cnn4", "cnn5_avg", "mlp6"})


def usual_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Usual values of the hyperparameters that matter most.

    Args:
        config: what stands already; what it lacks has the config class's defaults.

    Returns:
        By key; a key that is not here has no other usual value than its default.
    """

    def value(key: str) -> Any:
        return config.get(key, ImageConfig.model_fields[key].default)

    model, optimizer = str(value("model")), str(value("optimizer")).removeprefix("lookahead_")
    trained = "scratch" if value("finetune") == "scratch" or not value("pretrained") or model in _OWN else "full"
    if trained == "full" and value("finetune") == "head":
        trained = "head"
    kind = "sgd" if optimizer in _LIKE_SGD else "sign" if optimizer in _LIKE_SIGN else "adam"
    lr = _LEARNING_RATES[kind][trained]
    if trained == "full" and model.startswith(TRANSFORMERS):
        lr /= 5
    return {
        "lr": lr,
        "weight_decay": 0.01 if optimizer == "adamw" else 1e-4,
        "batch_size": 32,
        "momentum": 0.9,
        "schedule": "cosine",
        "label_smoothing": 0.1,
        "dropout": 0.0 if trained != "scratch" else 0.2,
        "augment": "light",
    }
