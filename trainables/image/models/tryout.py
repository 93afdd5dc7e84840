"""Tries a model without memory: a training step on the meta device, and what it draws at random."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm
import torch
from timm.layers import SelectAdaptivePool2d
from timm.models import get_pretrained_cfg
from torch.overrides import TorchFunctionMode

from trainables.errors import TrainableError
from trainables.image.config import ImageConfig
from trainables.image.models.factory import FAILURES as BUILD_FAILURES
from trainables.image.models.factory import build_model, with_weights
from trainables.image.models.freezing import block_numbers
from trainables.image.models.layout import channels_last

NUM_CLASSES = 5
"""Of a tried model: any number that is no other dimension's by chance."""
_IMAGES = 2
_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
FAILURES = (TrainableError, *BUILD_FAILURES)
"""What trying a model may end in."""


@dataclass(frozen=True)
class Step:
    """What one step of training did.

    Attributes:
        problem: why it failed; None when it did not.
        dropouts: the rates above 0 of the dropouts that ran.
        drop_paths: how many residual branches may be dropped.
        num_blocks: how many blocks the parameters are of, the head's included.
        num_parameters: of the model with `NUM_CLASSES` classes.
        saved_bytes: kept of both images for the backward pass.
        pools: whether the map that is pooled has more than one pixel: of one, every kind of pooling makes the same.
            None: no layer pools that has other kinds.
    """

    problem: str | None = None
    dropouts: frozenset[float] = frozenset()
    drop_paths: int = 0
    num_blocks: int = 0
    num_parameters: int = 0
    saved_bytes: int = 0
    pools: bool | None = None


def try_step(config: ImageConfig) -> Step:
    """Builds a model without memory, and runs forward and backward on a batch of two."""
    size, channels = config.input_resolution, config.num_channels
    try:
        with torch.device("meta"):
            model = channels_last(build_model(config, NUM_CLASSES)).train()
            images = torch.zeros(_IMAGES, channels, size, size).contiguous(memory_format=torch.channels_last)
            saved = _Saved(model)
            pooled: list[bool] = []
            for place in (module for module in model.modules() if isinstance(module, SelectAdaptivePool2d)):
                place.register_forward_pre_hook(lambda _, inputs: pooled.append(not is_one_pixel(inputs[0])))
            with _Drawn(saved) as drawn, torch.autograd.graph.saved_tensors_hooks(saved.note, _as_it_is):
                logits = model(images)
            if tuple(logits.shape) != (_IMAGES, NUM_CLASSES):
                return Step(f"its output has the shape {tuple(logits.shape)}")
            logits.sum().backward()
            blocks = block_numbers(model)
    except FAILURES as error:
        return Step(reason(error))
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    numbers = max(blocks.values()) + 1, num_parameters, saved.num_bytes, pooled[-1] if pooled else None
    return Step(None, frozenset(drawn.dropouts), drawn.drop_paths, *numbers)


@lru_cache(maxsize=512)
def impossible(name: str, pooling: str, resolution: int, channels: int = 3) -> str | None:
    """Why a timm model cannot be trained so, None if it can."""
    return _tried(name, pooling, resolution, channels).problem


@lru_cache(maxsize=512)
def has_effect(name: str, key: str, resolution: int) -> bool:
    """Whether a rate of `dropout` or `drop_path` changes what a model does in training.

    Args:
        name: timm's.
        key: one of the two.
        resolution: that it works on.
    """
    step = _tried(name, "native", resolution, 3, ((key, 0.25),))
    return step.problem is None and (0.25 in step.dropouts if key == "dropout" else step.drop_paths > 0)


@lru_cache(maxsize=512)
def num_blocks(name: str, resolution: int) -> int:
    """How many blocks a model has, its head included: with one there is nothing to freeze or to scale apart."""
    return _tried(name, "native", resolution, 3).num_blocks


def is_one_pixel(maps: torch.Tensor) -> bool:
    """Whether maps are 1×1: (N, C, 1, 1), or (N, 1, 1, C) of Swin and its kin."""
    return maps.ndim == 4 and sorted(maps.shape[1:])[-2] == 1


@lru_cache(maxsize=512)
def has_nothing_to_pool(name: str, resolution: int, channels: int = 3) -> bool:
    """Whether a model's last map is of one pixel, so that kinds of pooling are all the same."""
    return _tried(name, "native", resolution, channels).pools is False


def image_bytes(name: str, pooling: str, resolution: int, channels: int = 3) -> int:
    """How much a training step keeps of each image for its backward pass."""
    return _tried(name, pooling, resolution, channels).saved_bytes // _IMAGES


def usual_resolution(name: str) -> int:
    """The resolution that a model was published for, in pixels."""
    source = get_pretrained_cfg(name)
    size = source.input_size if source is not None else None
    return int((size or (3, 224, 224))[-1])


@lru_cache(maxsize=512)
def weights_problem(name: str, pooling: str, resolution: int, channels: int = 3) -> str | None:
    """Why a model's published weights cannot be its start in this shape, None if they can; needs none of them.

    Their shapes are those of the model as it was published; timm adapts them (position tables, first convolution)
    where it knows how, on the meta device as with real ones.
    """
    config = configured(name, pooling, resolution, channels)
    try:
        with torch.device("meta"):
            published = timm.create_model(name).state_dict()
            with_weights(build_model(config, NUM_CLASSES), config, published, name)
    except FAILURES as error:
        return reason(error)
    return None


def reason(error: BaseException) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@lru_cache(maxsize=1024)
def _tried(name: str, pooling: str, resolution: int, channels: int, rates: tuple[tuple[str, float], ...] = ()) -> Step:
    return try_step(configured(name, pooling, resolution, channels, **dict(rates)))


def configured(name: str, pooling: str, resolution: int, channels: int, **rates: float) -> ImageConfig:
    """A configuration to try a model in; the rest is as by default."""
    color = "rgb" if channels == 3 else "grayscale"
    values = {"model": name, "pooling": pooling, "input_resolution": resolution, "color": color, **rates}
    return ImageConfig.model_validate(values)


class _Saved:
    """Adds up what autograd keeps for the backward pass, but for the model's own weights; each tensor once."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.num_bytes = 0
        self._fused = False
        self._seen = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}

    def note(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen and not self._fused:
            self._seen.add(storage._cdata)
            self.num_bytes += storage.nbytes()
        return tensor

    @contextlib.contextmanager
    def fused(self) -> Iterator[None]:
        """Counts nothing: without memory, attention keeps tables of tokens × tokens, and with it none of them."""
        self._fused = True
        yield
        self._fused = False


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


class _Drawn(TorchFunctionMode):
    """Notes the dropouts that run, and the draws of stochastic depth."""

    def __init__(self, saved: _Saved) -> None:
        super().__init__()
        self._saved = saved
        self.dropouts: set[float] = set()
        self.drop_paths = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _DROPOUTS:
            rate = args[1] if len(args) > 1 else given.get("p", 0.5)
            if rate and (args[2] if len(args) > 2 else given.get("training", True)):
                self.dropouts.add(float(rate))
        elif name == "scaled_dot_product_attention":
            if given.get("dropout_p"):
                self.dropouts.add(float(given["dropout_p"]))
            with self._saved.fused():
                attended: torch.Tensor = func(*args, **given)
            for tensor in (*args[:3], attended):
                self._saved.note(tensor)
            return attended
        elif name == "bernoulli_":  # timm's drop_path
            self.drop_paths += 1
        return func(*args, **given)
