"""Checks combinations of hyperparameters, without data and (for known models) without torch."""

from __future__ import annotations

from trainables.contract import ConfigProblem
from trainables.errors import WeightsError
from trainables.image.checks.advice import advice
from trainables.image.checks.model import has_published_weights, model_problems
from trainables.image.choices.optimizers import optimizer_problem
from trainables.image.config import ImageConfig
from trainables.image.models.table import timm_name
from trainables.image.models.weights import local_weights, text_for_yes_or_no

CHECK_KEYS = (
    ("model", "pretrained", "finetune", "pooling", "input_resolution", "color"),
    ("model", "finetune", "input_resolution", "batch_size"),
    ("model", "finetune", "unfrozen_blocks", "layer_lr_decay", "dropout", "drop_path", "width", "batch_norm"),
    ("model", "finetune", "features", "feature_views", "augment"),
    ("optimizer", "nesterov", "momentum"),
    ("schedule", "epochs", "warmup_epochs"),
    ("ema_decay", "average_weights"),
)
"""Within a group every combination matters; what is of two groups never depends on the other."""


def config_problems(config: ImageConfig) -> list[ConfigProblem]:
    """Everything that is known to be wrong with a configuration."""
    problems = model_problems(config)
    if not any(problem.key == "model" for problem in problems):
        problems += _weights_problems(config)
    problems += [*_optimizer_problems(config), *_schedule_problems(config), *_averaging_problems(config)]
    return problems or list(advice(config))


def _optimizer_problems(config: ImageConfig) -> list[ConfigProblem]:
    problem = optimizer_problem(config.optimizer)
    if problem is not None:
        return [ConfigProblem("optimizer", problem)]
    if config.optimizer == "sgd" and config.nesterov and config.momentum == 0.0:
        return [ConfigProblem("nesterov", "nesterov needs a momentum above 0, and momentum is 0")]
    return []


def _schedule_problems(config: ImageConfig) -> list[ConfigProblem]:
    if not config.warmup_epochs:
        return []
    if config.schedule == "one_cycle":
        message = "one_cycle has its own warm-up (0.3 of the steps): leave warmup_epochs at 0, or use schedule: cosine"
        return [ConfigProblem("warmup_epochs", message)]
    if config.warmup_epochs >= config.epochs:
        message = f"{config.warmup_epochs:g} warm-up epochs leave none of {config.epochs}: must be fewer"
        return [ConfigProblem("warmup_epochs", message)]
    return []


def _averaging_problems(config: ImageConfig) -> list[ConfigProblem]:
    if config.average_weights == 1 or not config.ema_decay:
        return []
    message = (
        f"average_weights {config.average_weights} and ema_decay {config.ema_decay:g} are two ways to average the "
        "weights, and a trial keeps one: leave ema_decay at 0, or average_weights at 1"
    )
    return [ConfigProblem("average_weights", message)]


def _weights_problems(config: ImageConfig) -> list[ConfigProblem]:
    name = timm_name(config.model)
    problems = []
    published = has_published_weights(name)
    if (meant := text_for_yes_or_no(config.pretrained)) is not None:
        problems.append(ConfigProblem("pretrained", meant))
    elif config.weights_path is not None:
        try:
            local_weights(config.weights_path, name)
        except WeightsError as error:
            problems.append(ConfigProblem("pretrained", str(error).removeprefix("pretrained: ")))
    elif config.wants_weights and not published and "pretrained" in config.model_fields_set:
        problems.append(
            ConfigProblem(
                "pretrained",
                f"{config.model} has no published weights: give a weight file, or pretrained: false",
            )
        )
    starts_from_weights = config.wants_weights and (published or config.weights_path is not None)
    if config.finetune in ("head", "last_n") and not starts_from_weights:
        what = (
            "trains a classifier on frozen features" if config.finetune == "head" else "leaves the first blocks frozen"
        )
        reason = "pretrained is false" if not config.pretrained else f"{config.model} has no published weights"
        problems.append(
            ConfigProblem(
                "finetune",
                f"{config.finetune} {what}, and {reason}, so they would be random: "
                "use full or scratch, or give weights",
            )
        )
    return problems
