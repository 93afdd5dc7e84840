"""Whether what a user sets is what runs: two values of a setting that the check accepts build two different models.

A model is made on the meta device and run once; what is noted of it is every operation with its shapes and numbers
(dropout rates, kinds of pooling), and which parameters learn at which rate. So nothing is computed, and a model takes
a second or two.

    python -m benchmarks.models_settings                # every model that is known
    python -m benchmarks.models_settings --per-family   # the smallest of each family
    python -m benchmarks.models_settings resnet18 'vit_tiny*'
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, get_args

import torch
from timm.layers import SelectAdaptivePool2d
from torch import nn
from torch.overrides import TorchFunctionMode

from trainables.image.checks.model import model_problems
from trainables.image.config import ImageConfig, Pooling
from trainables.image.models.factory import starting_model
from trainables.image.models.freezing import freeze
from trainables.image.models.layout import channels_last
from trainables.image.models.survey import survey
from trainables.image.models.table import MODELS, timm_name
from trainables.image.models.tryout import is_one_pixel, try_step, usual_resolution
from trainables.image.training.optim import parameter_groups

NUM_CLASSES = 5
VALUES: Mapping[str, Sequence[Any]] = {
    "dropout": (0.0, 0.25),
    "drop_path": (0.0, 0.25),
    "pooling": get_args(Pooling),
    "color": ("rgb", "grayscale"),
    "width": (None, 24),
    "batch_norm": (False, True),
}
"""Of every key that the layers are built from, the values that are tried; resolutions depend on the model."""
WAYS: Sequence[Mapping[str, Any]] = (
    {"finetune": "full"},
    {"finetune": "full", "layer_lr_decay": 0.5},
    {"finetune": "head"},
    {"finetune": "last_n", "unfrozen_blocks": 1},
    {"finetune": "last_n", "unfrozen_blocks": 2},
)
"""Of the keys that choose what learns, and how fast."""


def without_effect(model: str, keys: Sequence[str] = tuple(VALUES)) -> list[str]:
    """Pairs of settings of a model that the check accepts, and that build and train the same; and hidden dropouts.

    `native` may be the same as one other kind of pooling: it is whichever the model was published with.

    Args:
        model: a name as in a sweep file.
        keys: of `VALUES`, which are tried beside the ways of fine-tuning and the resolutions.
    """
    plain = configured(model)
    net = built(plain)
    alike = [*_alike(WAYS, plain, lambda config: learning(net, config))]
    size = plain.input_resolution
    sizes = [{"input_resolution": size}, {"input_resolution": size + 32}, {"input_resolution": 2 * size}]
    settings = [*([{key: value} for value in VALUES[key]] for key in keys), sizes]
    known = {plain: computed(net, plain)}
    for values in settings:
        alike += _alike(values, plain, lambda config: known.get(config) or computed(built(config), config))
    alike += [f"dropout {rate} without any set" for rate in sorted(try_step(plain).dropouts)]
    natives = [pair for pair in alike if pair.startswith("pooling native")]
    return [pair for pair in alike if natives[:1] != [pair]]


def configured(model: str, **values: Any) -> ImageConfig:
    """A configuration of a model at its usual resolution, which starts from weights."""
    own = {"input_resolution": max(64, usual_resolution(timm_name(model))), "pretrained": "/weights"}
    return ImageConfig.model_validate({"model": model, **own, **values})


def accepted(config: ImageConfig, keys: Collection[str]) -> bool:
    """Whether the check of the model has nothing against what these keys are set to."""
    return not any(problem.fatal and problem.key in {"model", *keys} for problem in model_problems(config))


def built(config: ImageConfig) -> nn.Module:
    """The model that training starts from, without memory."""
    with torch.device("meta"):
        return channels_last(starting_model(config, NUM_CLASSES)).train()


def computed(model: nn.Module, config: ImageConfig) -> tuple[Any, ...]:
    """What a model does to a batch in training: each operation's name, numbers, and shape of its result."""
    size = config.input_resolution
    with torch.device("meta"), _Operations() as operations, torch.no_grad():
        pools = [module for module in model.modules() if isinstance(module, SelectAdaptivePool2d)]
        hooks = [pool.register_forward_pre_hook(operations.pools) for pool in pools]
        hooks += [pool.register_forward_hook(operations.has_pooled) for pool in pools]
        model(torch.zeros(2, config.num_channels, size, size))
    for hook in hooks:
        hook.remove()
    return (*operations.done, *((name, tuple(value.shape)) for name, value in model.named_parameters()))


def learning(model: nn.Module, config: ImageConfig) -> list[tuple[float, float, int]]:
    """Which share of the learning rate how many values of a model learn at."""
    model.requires_grad_(True)
    freeze(model, config, model.head_names)  # type: ignore[arg-type]
    return sorted(
        (group["lr_scale"], group["weight_decay"], sum(value.numel() for value in group["params"]))
        for group in parameter_groups(config, model)
    )


def _alike(
    settings: Sequence[Mapping[str, Any]], plain: ImageConfig, seen: Callable[[ImageConfig], Any]
) -> Iterator[str]:
    configs = [plain.model_copy(update=dict(setting)) for setting in settings]
    found = [
        (" ".join(f"{key} {value}" for key, value in setting.items()), seen(config))
        for setting, config in zip(settings, configs, strict=True)
        if accepted(config, setting)
    ]
    for (one, does), (other, does_too) in itertools.combinations(found, 2):
        if does == does_too:
            yield f"{one} = {other}"


class _Operations(TorchFunctionMode):
    """Notes what is computed; a pooling of a map of one pixel is none, whichever kind it is."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []
        self._nothing = False

    def pools(self, pool: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """A forward hook of a pooling layer, before it."""
        self._nothing = is_one_pixel(inputs[0])

    def has_pooled(self, pool: nn.Module, inputs: tuple[torch.Tensor, ...], pooled: torch.Tensor) -> None:
        """A forward hook of a pooling layer, after it."""
        self._nothing = False
        self.done.append(("pooled", tuple(pooled.shape)))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._nothing or getattr(func, "__name__", "") == "__get__":
            return result
        shape = tuple(result.shape) if isinstance(result, torch.Tensor) else None
        numbers = [value for value in (*args, *(kwargs or {}).values()) if not isinstance(value, torch.Tensor)]
        self.done.append((getattr(func, "__name__", ""), _plain(numbers), shape))
        return result


def _plain(value: Any) -> Any:
    """Numbers and their lists as they are; of anything else its type: tensors within lists, generators, formats."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, slice):
        return (_plain(value.start), _plain(value.stop), _plain(value.step))
    return value if isinstance(value, int | float | str | bool | None) else type(value).__name__


def main() -> None:
    """Prints each model of which settings have no effect, and how many have none such; exit code 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models_settings")
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--per-family", action="store_true")
    given = parser.parse_args()
    names = [name for name in MODELS if any(fnmatch(name, pattern) for pattern in given.patterns)]
    if given.per_family:  # the smaller come first
        first = {survey()[name]["module"]: name for name in reversed(names) if name in survey()}
        names = [name for name in names if name not in survey() or first[survey()[name]["module"]] == name]
    began, wrong = time.process_time(), 0
    for name in names:
        found = without_effect(name)
        wrong += bool(found)
        for pair in found:
            print(f"{name}: {pair}", flush=True)
    seconds = time.process_time() - began
    print(
        f"{len(names)} models: of {len(names) - wrong} every setting has an effect or is refused; {seconds:.0f} CPU s"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
