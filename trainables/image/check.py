"""Combinations of hyperparameters that cannot work, found without data and (for known models) without torch."""

from __future__ import annotations

from typing import get_args

from trainables.contract import ConfigProblem
from trainables.errors import WeightsError
from trainables.image.config import ImageConfig, Pooling
from trainables.image.models.table import ALIASES, MODELS, ModelFacts, nearest, timm_name
from trainables.image.models.weights import local_weights
from trainables.image.training.optimizer_table import optimizer_problem

CHECK_KEYS = (
    ("model", "pretrained", "finetune", "pooling", "input_resolution", "color", "drop_path"),
    ("optimizer", "nesterov", "momentum"),
    ("schedule", "epochs", "warmup_epochs"),
)
"""Within a group every combination matters; what is of two groups never depends on the other."""


def config_problems(config: ImageConfig) -> list[ConfigProblem]:
    """Everything that is known to be wrong with a configuration."""
    problems = _model_problems(config)
    if not any(problem.key == "model" for problem in problems):
        problems += _weights_problems(config)
    return problems + _optimizer_problems(config) + _schedule_problems(config)


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
        message = (
            "one_cycle has a rise of its own (0.3 of the steps): leave warmup_epochs at 0, or take schedule: cosine"
        )
        return [ConfigProblem("warmup_epochs", message)]
    if config.warmup_epochs >= config.epochs:
        message = f"{config.warmup_epochs:g} warm-up epochs leave none of {config.epochs}: must be fewer"
        return [ConfigProblem("warmup_epochs", message)]
    return []


def _model_problems(config: ImageConfig) -> list[ConfigProblem]:
    name = timm_name(config.model)
    facts = MODELS.get(name)
    if facts is None:
        return _unlisted_problems(config, name)
    problems = []
    if config.pooling not in facts.poolings:
        problems.append(_pooling_problem(config, facts.poolings))
    if config.input_resolution < facts.min_resolution:
        problems.append(
            ConfigProblem(
                "input_resolution",
                f"{config.model} needs at least {facts.min_resolution} pixels, {config.input_resolution} are asked for",
            )
        )
    if config.drop_path and not facts.drop_path:
        problems.append(_drop_path_problem(config))
    return problems


def _unlisted_problems(config: ImageConfig, name: str) -> list[ConfigProblem]:
    """Of a model that the table does not know: timm is asked, and the model tried out."""
    import timm
    from timm.models import get_pretrained_cfg

    from trainables.image.models.factory import impossible

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = nearest(config.model, [*MODELS, *ALIASES]) or nearest(config.model, timm.list_models())
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models() for all of them"
        return [ConfigProblem("model", f"there is no model {config.model!r}: {hint}")]
    tags = [full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", include_tags=True)]
    if tag and tag not in tags:
        choices = ", ".join(nearest(tag, tags) or tags) or "none"
        return [ConfigProblem("model", f"{architecture} has no weights {tag!r}: it has {choices}")]
    resolution, channels = config.input_resolution, config.num_channels
    reason = impossible(name, config.pooling, resolution, channels)
    if reason is None:
        lacks = config.drop_path and impossible(name, config.pooling, resolution, channels, config.drop_path)
        return [_drop_path_problem(config)] if lacks else []
    usual = (get_pretrained_cfg(name).input_size or (3, 224, 224))[-1]
    if impossible(name, config.pooling, usual, channels) is None:
        return [ConfigProblem("input_resolution", f"{config.model} cannot work on {resolution} pixels: {reason}")]
    poolings = tuple(kind for kind in get_args(Pooling) if impossible(name, kind, usual, channels) is None)
    if poolings:
        return [_pooling_problem(config, poolings)]
    return [ConfigProblem("model", f"{config.model} cannot be used as an image classifier here: {reason}")]


def _weights_problems(config: ImageConfig) -> list[ConfigProblem]:
    name = timm_name(config.model)
    problems = []
    published = _published(name)
    if config.weights_path is not None:
        try:
            local_weights(config.weights_path, name)
        except WeightsError as error:
            problems.append(ConfigProblem("pretrained", str(error).removeprefix("pretrained: ")))
    elif config.wants_weights and not published and "pretrained" in config.model_fields_set:
        problems.append(
            ConfigProblem(
                "pretrained",
                f"there are no published weights of {config.model}: give a weight file, or pretrained: false",
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
    misfits = MODELS.get(name, ModelFacts()).misfits
    if starts_from_weights and config.weights_path is None and config.pooling in misfits:
        problems.append(
            ConfigProblem(
                "pooling",
                f"{config.pooling} changes layers of {config.model}, so that its published weights do not fit: "
                "use another pooling, or finetune: scratch",
            )
        )
    return problems


def _published(name: str) -> bool:
    if name in MODELS:
        return MODELS[name].published
    from timm.models import get_pretrained_cfg

    source = get_pretrained_cfg(name)
    return bool(source is not None and source.has_weights)


def _pooling_problem(config: ImageConfig, poolings: tuple[Pooling, ...]) -> ConfigProblem:
    return ConfigProblem("pooling", f"{config.model} cannot do {config.pooling}: it can do {', '.join(poolings)}")


def _drop_path_problem(config: ImageConfig) -> ConfigProblem:
    message = f"{config.model} has no residual branches that could be dropped: leave drop_path at 0, or use dropout"
    return ConfigProblem("drop_path", message)
