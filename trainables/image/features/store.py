"""Features on disk, beside the decoded pixels: same folder, same limit, same locks.

A file a pooling, `features-<key>-<pooling>.npy`, all of them written in one pass over the pictures; and
`features-<key>.json`, which says what there is, or why a head cannot be trained apart from its backbone. The key
names everything that a feature depends on: the weights' content, the model and how it is made, the pixels, the splits,
the precision and the libraries' versions; and, of images that are changed at random, how, and how many versions.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import timm
import torch

from trainables.digests import from_sealed_json, to_sealed_json
from trainables.image.batches.augment import make_augmentation, with_generator
from trainables.image.batches.feed import Change, Feed, Rows
from trainables.image.compute.device import compute_device
from trainables.image.compute.memory import is_out_of_memory
from trainables.image.compute.threads import threads
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.features.backbone import FrozenBackbone, backbone_of
from trainables.image.features.stored import Backbone, Features
from trainables.image.features.wanted import num_views, wants_features
from trainables.image.index import ImageIndex
from trainables.image.models.own_head import Layout
from trainables.image.models.table import timm_name
from trainables.image.models.weights import digest_of
from trainables.image.pixels.examples import open_pixels
from trainables.image.pixels.pixel_cache import PixelCache, Shape

_BATCH_SIZE = 16
"""Larger ones are no quicker on a CPU, and their feature maps are most of the memory that a worker needs for a head."""
_AUGMENTATION = (
    "augment", "randaugment_operations", "randaugment_magnitude", "hflip", "vflip", "crop_scale", "rotation_degrees",
    "color_jitter", "invert", "random_erasing",
)  # fmt: skip


def open_features(
    config: ImageConfig, index: ImageIndex, data: DataConfig, weights: Path | None, num_threads: int
) -> Features | None:
    """The features of a head-only trial: from the node's cache, computed first when they are not there yet.

    Of several processes that ask at once one computes, and the others wait for it.

    Args:
        config: of the trial.
        index: the examples; rows of test are left out, since nothing may look at them before the search has ended.
        data: where the cache is and how much it may hold.
        weights: of the backbone. Random ones differ from trial to trial: there is nothing to share then.
        num_threads: to compute with.

    Returns:
        None when the backbone has to run in each epoch after all: the configuration changes images at random and asks
        for no stored versions of them, the model trains more than one linear classifier, or the cache has no room.
    """
    if weights is None or not data.cache_limit_bytes or not wants_features(config):
        return None
    digest = digest_of(weights)
    key = _key(config, index, digest)
    shared_s = 0.0
    try:
        cache = PixelCache(data.cache_folder, int(data.cache_limit_bytes))
        find = functools.partial(_find, cache, key, config, index, weights, digest)
        found = find()
        if found is None:
            began = perf_counter()
            with cache.building(f"features-{key}"):
                found = find()
                if found is None:
                    # A worker that has PyTorch from its start has it with a thread for each CPU: trials beside each
                    # other would mostly wait for each other.
                    with threads(num_threads):
                        _build(cache, key, config, index, data, weights, num_threads)
                    found = find()
            shared_s = perf_counter() - began
    except OSError as error:
        print(f"the backbone runs in each epoch: the cache {data.cache_folder} cannot be used ({error})")
        return None
    for damage in cache.damaged:
        print(damage)
    if not isinstance(found, Features):
        return None
    found.shared_s = shared_s
    return found


def find_features(config: ImageConfig, index: ImageIndex, data: DataConfig, weights: Path) -> Features | None:
    """The features of a head-only trial where they are in the node's cache; nothing is computed.

    Args:
        config, index, data, weights: as for `open_features`.
    """
    if not data.cache_limit_bytes or not wants_features(config):
        return None
    digest = digest_of(weights)
    try:
        cache = PixelCache(data.cache_folder, int(data.cache_limit_bytes))
        found = _find(cache, _key(config, index, digest), config, index, weights, digest)
    except OSError:
        return None
    return found if isinstance(found, Features) else None


def _key(config: ImageConfig, index: ImageIndex, digest: str) -> str:
    made = {
        "model": timm_name(config.model),
        **config.model_dump(include={"input_resolution", "color", "width", "batch_norm", "mixed_precision"}),
        "weights": digest,
        "examples": index.fingerprint,
        "classes": len(index.classes),
        "device": compute_device().type,
        "versions": (torch.__version__, timm.__version__),
    }
    if suffix := config.fit.suffix(config.input_resolution):  # squash has none: what was stored before there was more
        made["fit"] = suffix
    if views := num_views(config):
        made |= {"views": views, **config.model_dump(include=set(_AUGMENTATION))}
    return hashlib.blake2b(json.dumps(made, sort_keys=True).encode(), digest_size=16).hexdigest()


def _facts_file(cache: PixelCache, key: str) -> Path:
    return cache.folder / f"features-{key}.json"


def _facts(cache: PixelCache, key: str) -> dict[str, Any]:
    try:
        facts = from_sealed_json(_facts_file(cache, key).read_bytes())
    except (FileNotFoundError, ValueError):
        return {"poolings": {}}
    return facts


def _find(
    cache: PixelCache, key: str, config: ImageConfig, index: ImageIndex, weights: Path, digest: str
) -> Features | str | None:
    """The features; in words why there are none; or None when nobody has tried yet."""
    facts, pooling, views = _facts(cache, key), config.pooling, num_views(config)
    if pooling in facts.get("reasons", {}):
        return str(facts["reasons"][pooling])
    if pooling not in facts["poolings"]:
        return None
    name, width = facts["poolings"][pooling]
    file = cache.find(f"features-{key}-{name}", _shape(index, width, views))
    if file is None:
        return None
    layout = facts.get("layouts", {}).get(pooling)
    made = None if layout is None else Layout(tuple(layout["inputs"]), tuple(layout["reads"]), layout["drops"])
    backbone = Backbone(str(weights.absolute()), digest, facts["num_parameters"], facts["precision"], made)
    return Features(file, backbone, views, both=index.num_folds > 0)


def _shape(index: ImageIndex, width: int, views: int) -> Shape:
    # The cache holds bytes: the last axis is those of one float32. Of several versions each has a block of all rows;
    # with folds, where a training image is in some fold's val, there is one more in front: images as they are.
    blocks = max(1, views + (views > 0 and index.num_folds > 0))
    return (len(index.table) * blocks, 1, width, 4)


def _build(
    cache: PixelCache, key: str, config: ImageConfig, index: ImageIndex, data: DataConfig, weights: Path, threads: int
) -> None:
    facts = _facts(cache, key)
    backbone = backbone_of(config, len(index.classes), weights)
    if isinstance(backbone, str):
        print(f"the backbone runs in each epoch: {backbone}")
        facts.setdefault("reasons", {})[config.pooling] = backbone  # `problems` were those of heads of one layer alone
    else:
        written = _compute(cache, key, backbone, config, index, data, threads)
        facts["poolings"] |= written
        facts |= {"num_parameters": backbone.num_parameters, "precision": backbone.precision}
        if backbone.layout is not None:
            facts.setdefault("layouts", {}).update(dict.fromkeys(written, dataclasses.asdict(backbone.layout)))
        if not written:
            return  # no room: perhaps there is for the next trial
    partial = _facts_file(cache, key).with_suffix(f".{os.getpid()}.tmp")
    partial.write_bytes(to_sealed_json(facts))
    partial.replace(_facts_file(cache, key))


def _passes(config: ImageConfig, index: ImageIndex) -> Iterator[tuple[Rows, int, Change | None]]:
    """Which rows the backbone sees, how far on in the file they lie, and how their images are changed.

    A version is drawn from its number alone: it is the same for every trial and every sweep.
    """
    train, val = index.rows("train"), index.rows("val")
    views = num_views(config)
    if not views:
        yield np.sort(np.concatenate([train, val])), 0, None
        return
    first = int(index.num_folds > 0)
    yield (np.sort(train) if first else np.sort(val)), 0, None
    augmentation = make_augmentation(config)
    for view in range(views):
        generator = torch.Generator().manual_seed(view)
        yield np.sort(train), (first + view) * len(index.table), with_generator(augmentation, generator)


def _compute(
    cache: PixelCache,
    key: str,
    backbone: FrozenBackbone,
    config: ImageConfig,
    index: ImageIndex,
    data: DataConfig,
    num_threads: int,
) -> Mapping[str, tuple[str, int]]:
    """Writes the features of every pooling; name of the file and width, for each pooling that a config may name."""
    partials = {}
    pixels = open_pixels(index, data, config.input_resolution, config.num_channels, num_threads, fit=config.fit)
    try:
        for name, width in backbone.widths.items():
            partial = cache.reserve(_shape(index, width, num_views(config)))
            if partial is not None:
                partials[name] = partial
        feed = Feed(pixels, backbone.device, *backbone.normalization)
        for rows, offset, change in _passes(config, index):
            places, done = rows + offset, 0
            for images in feed.batches(rows, _BATCH_SIZE, change):
                for name, values in backbone(images).items():
                    if name in partials:
                        as_bytes = values.numpy().view(np.uint8).reshape(len(values), 1, -1, 4)
                        for row, value in zip(places[done:].tolist(), as_bytes, strict=False):
                            partials[name].write(row, value)
                done += len(images)
        for name, partial in list(partials.items()):
            if partial.error is None:
                partial.publish(cache.path(f"features-{key}-{name}"))
            else:
                del partials[name]
                partial.discard()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return {}  # training may fit all the same: it makes its batches smaller
    finally:
        pixels.close()
        for partial in partials.values():
            partial.discard()
    return {pooling: (name, backbone.widths[name]) for pooling, name in backbone.names.items() if name in partials}
