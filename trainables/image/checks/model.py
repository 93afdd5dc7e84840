"""Checks what a model can do: by the table where it lists the model, else by trying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from trainables.contract import ConfigProblem
from trainables.image.checks.verdicts import (
    has_effect,
    has_nothing_to_pool,
    impossible,
    is_model,
    is_published,
    num_blocks,
    tags_of,
    untrainable,
    usual_resolution,
    weights_problem,
)
from trainables.image.config import ImageConfig, Pooling
from trainables.image.models.survey import survey
from trainables.image.models.table import ALIASES, MODELS, OWN_NETS, ModelFacts, nearest, timm_name

_OF_SEVERAL = ("max", "avgmax", "gem")
"""Poolings that make the same as `avg` of one pixel; catavgmax makes twice as much."""
_TRIED_SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)


def model_problems(config: ImageConfig) -> list[ConfigProblem]:
    """What is wrong with a model and with what is asked of it."""
    name = timm_name(config.model)
    facts = MODELS.get(name)
    if facts is None:
        problems = list(_unlisted_problems(config, name))
        if problems:
            return problems
        facts = _found_facts(config, name)
    else:
        problems = list(_listed_problems(config, facts))
    problems += [*_effect_problems(config, facts), *_weights_misfits(config, name, facts)]
    return problems or list(_training_problems(config, name))


def has_published_weights(name: str) -> bool:
    """Whether somebody has published weights for a model."""
    return MODELS[name].published if name in MODELS else is_published(name)


def _training_problems(config: ImageConfig, name: str) -> Iterator[ConfigProblem]:
    """Of a model that nobody has seen going the whole way: a step, a checkpoint and its loading are tried."""
    if name in MODELS or survey().get(name.partition(".")[0], {}).get("outcome") == "right":
        return
    problem = untrainable(name, config.pooling, config.input_resolution, config.num_channels)
    if problem is not None:
        yield ConfigProblem("model", f"{config.model} cannot be trained on {config.input_resolution} pixels: {problem}")


def _listed_problems(config: ImageConfig, facts: ModelFacts) -> Iterator[ConfigProblem]:
    if config.pooling not in facts.poolings:
        yield _pooling_problem(config, facts.poolings)
    if config.input_resolution < facts.min_resolution:
        yield ConfigProblem(
            "input_resolution",
            f"{config.model} needs at least {facts.min_resolution} pixels, not {config.input_resolution}",
        )
    elif config.pooling in _OF_SEVERAL and config.input_resolution < facts.pools_from:
        yield _nothing_to_pool(config, facts.pools_from)


def _unlisted_problems(config: ImageConfig, name: str) -> Iterator[ConfigProblem]:
    """Of a model that the table does not know: timm is asked, and a step tried."""
    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        near = nearest(config.model, [*MODELS, *ALIASES]) or nearest(config.model, survey())
        hint = f"did you mean {', '.join(near)}?" if near else "`sweep models` lists all of them"
        yield ConfigProblem("model", f"there is no model {config.model!r}: {hint}")
        return
    tags = tags_of(architecture) if tag else []
    if tag and tag not in tags:
        choices = ", ".join(nearest(tag, tags) or tags) or "none"
        yield ConfigProblem("model", f"{architecture} has no weights {tag!r}: it has {choices}")
        return
    resolution, channels = config.input_resolution, config.num_channels
    reason = impossible(name, config.pooling, resolution, channels)
    if reason is None:
        if config.pooling in _OF_SEVERAL and has_nothing_to_pool(name, resolution, channels):
            larger = (size for size in _TRIED_SIZES if size > resolution)
            works = (size for size in larger if not impossible(name, config.pooling, size, channels))
            pools = (size for size in works if not has_nothing_to_pool(name, size, channels))
            yield _nothing_to_pool(config, next(pools, None))
        return
    usual = usual_resolution(name)
    if impossible(name, config.pooling, usual, channels) is None:
        sizes = sorted({usual, *_around(name, config)})
        yield ConfigProblem(
            "input_resolution",
            f"{config.model} cannot work on {resolution} pixels: it works on {_listed(sizes)}",
        )
        return
    poolings = tuple(kind for kind in get_args(Pooling) if impossible(name, kind, usual, channels) is None)
    if poolings:
        yield _pooling_problem(config, poolings)
        return
    own = reason if reason.startswith(name) else f"{config.model} cannot be used as an image classifier: {reason}"
    yield ConfigProblem("model", own)


def _around(name: str, config: ImageConfig) -> Iterator[int]:
    """The nearest sizes below and above the wanted one that a model works on, of those that people use."""
    wanted = config.input_resolution
    above, below = [s for s in _TRIED_SIZES if s > wanted], [s for s in reversed(_TRIED_SIZES) if s < wanted]
    for sizes in (above, below):
        works = (size for size in sizes if not impossible(name, config.pooling, size, config.num_channels))
        yield from [size for size in [next(works, None)] if size is not None]


def _found_facts(config: ImageConfig, name: str) -> ModelFacts:
    """What the checks below ask of an unlisted model that works: only what they need is tried."""
    size = usual_resolution(name)
    partly = config.finetune == "last_n" or config.layer_lr_decay != 1.0
    return ModelFacts(
        dropout=not config.dropout or has_effect(name, "dropout", size),
        drop_path=not config.drop_path or has_effect(name, "drop_path", size),
        num_blocks=num_blocks(name, size) if partly else 2,
    )


def _effect_problems(config: ImageConfig, facts: ModelFacts) -> Iterator[ConfigProblem]:
    """Settings that would change nothing: every trial with another value would be the same."""
    model = config.model
    if config.dropout and not facts.dropout:
        yield _without_effect("dropout", f"{model} has no dropout before its classifier: leave dropout at 0")
    if config.drop_path and not facts.drop_path:
        message = f"{model} has no residual branches that could be dropped: leave drop_path at 0, or use dropout"
        yield _without_effect("drop_path", message)
    only = "only built-in models have it"
    if config.width is not None and model not in OWN_NETS:
        yield _without_effect("width", f"{model} has no configurable width, {only} ({', '.join(OWN_NETS)}): remove it")
    if config.batch_norm is not None and not facts.batch_norm:
        nets = ", ".join(name for name, own in OWN_NETS.items() if own.batch_norm)
        yield _without_effect("batch_norm", f"{model} has no option batch_norm, {only} ({nets}): remove it")
    if facts.num_blocks < 2 and config.layer_lr_decay != 1.0:
        message = f"timm knows no blocks of {model}, so layer_lr_decay has no effect: leave it at 1"
        yield _without_effect("layer_lr_decay", message)
    if facts.num_blocks < 2 and config.finetune == "last_n":
        message = f"timm knows no blocks of {model}, so last_n cannot freeze any: use head or full"
        yield _without_effect("finetune", message)
    elif config.finetune == "last_n" and config.unfrozen_blocks >= facts.num_blocks > 2:
        message = f"{model} has {facts.num_blocks - 1} blocks before its head: more than these cannot be trained"
        yield _without_effect("unfrozen_blocks", f"{message} (unfrozen_blocks is {config.unfrozen_blocks})")


def _weights_misfits(config: ImageConfig, name: str, facts: ModelFacts) -> Iterator[ConfigProblem]:
    """Published weights that the model cannot take in the shape that is asked for."""
    if not config.wants_weights or config.weights_path is not None or not has_published_weights(name):
        return
    if name not in MODELS:
        yield from _tried_weights(config, name)
    elif config.pooling in facts.misfits:
        yield _pooling_misfit(config)


def _tried_weights(config: ImageConfig, name: str) -> Iterator[ConfigProblem]:
    resolution, channels, usual = config.input_resolution, config.num_channels, usual_resolution(name)
    problem = weights_problem(name, config.pooling, resolution, channels)
    if problem is None:
        return
    if resolution != usual and weights_problem(name, config.pooling, usual, channels) is None:
        yield ConfigProblem(
            "input_resolution",
            f"the published weights of {config.model} fit {usual} pixels, and {resolution} are asked for: "
            f"use {usual}, or finetune: scratch",
        )
    elif config.pooling != "native" and weights_problem(name, "native", resolution, channels) is None:
        yield _pooling_misfit(config)
    else:
        yield ConfigProblem("pretrained", f"{problem}: use pretrained: false, or another model")


def _listed(sizes: list[int]) -> str:
    """`96 pixels`, `96 and 128 pixels`, `96, 128 and 224 pixels`."""
    words = [str(size) for size in sizes]
    return f"{' and '.join(filter(None, [', '.join(words[:-1]), words[-1]]))} pixels"


def _pooling_problem(config: ImageConfig, poolings: tuple[Pooling, ...]) -> ConfigProblem:
    return ConfigProblem(
        "pooling", f"{config.model} does not support {config.pooling}: it supports {', '.join(poolings)}"
    )


def _nothing_to_pool(config: ImageConfig, pools_from: int | None) -> ConfigProblem:
    more = "" if pools_from is None else f", or {pools_from} pixels or more"
    return _without_effect(
        "pooling",
        f"{config.model} makes a map of one pixel of {config.input_resolution} pixels, so that {config.pooling} would "
        f"change nothing: use native or avg{more}",
    )


def _pooling_misfit(config: ImageConfig) -> ConfigProblem:
    return ConfigProblem(
        "pooling",
        f"{config.pooling} changes layers of {config.model}, so its published weights do not fit: use another "
        f"pooling, or finetune: scratch",
    )


def _without_effect(key: str, message: str) -> ConfigProblem:
    return ConfigProblem(key, message, without_effect=True)
