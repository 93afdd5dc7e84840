"""One model the whole way, as a row: what it can do, whether it came out right, and what a step of it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import psutil
import torch
from timm.layers import SelectAdaptivePool2d
from timm.models import get_pretrained_cfg
from timm.models._registry import _model_to_module
from torch import nn

from trainables.errors import Infeasible, NotExportable
from trainables.image.compute.memory import is_out_of_memory
from trainables.image.config import ImageConfig, Pooling
from trainables.image.deployment.agreement import compare
from trainables.image.deployment.exactly import exact_probabilities
from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
from trainables.image.models.factory import build_model, normalization
from trainables.image.models.layout import channels_last
from trainables.image.models.tryout import (
    FAILURES,
    has_effect,
    image_bytes,
    impossible,
    is_one_pixel,
    num_blocks,
    reason,
    usual_resolution,
    weights_problem,
)
from trainables.image.package import ONNX_FILE, Package, PackageFacts
from trainables.image.trainable import ImageClassifier
from trainables.image.training.checkpoint import load_trained
from trainables.image.training.evaluate import GivenImages, compute_logits

COLUMNS = (
    "name", "module", "outcome", "reason", "parameters", "usual_resolution", "smallest_resolution", "any_size",
    "pools_from", "poolings", "misfits", "dropout", "drop_path", "num_blocks", "published", "resizable",
    "stored_features", "onnx", "max_difference", "spread", "kept_mib", "step_s", "step_mib", "image_ms", "finetune",
    "cpu_s",
)  # fmt: skip
TRIED_SIZES = (8, 16, 24, 32, 48, 64, 96, 112, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)
RESHAPING = ("catavgmax", "token", "map")
"""Poolings that may change the shape of layers."""
FINETUNING = ("head", "last_n", "full", "layer_lr_decay")
CLASSES = ("a", "b", "c")
BATCH = 4


def whole_way(name: str) -> dict[str, Any]:
    """The row of a name.

    `outcome` is right, refused (by the check, with the reason), infeasible (it does not fit into memory) or failed.
    """
    began = _cpu_s()
    usual = usual_resolution(name)
    row: dict[str, Any] = {"name": name, "module": _model_to_module[name], "reason": "", "usual_resolution": usual}
    refusal = impossible(name, "native", usual)
    if refusal is not None:
        told = refused(_config(name, usual))
        outcome = "refused" if told else "failed"
        return {**row, "outcome": outcome, "reason": told or refusal, "cpu_s": _since(began)}
    row |= without_memory(name, usual)
    size = trained_size(name, usual)
    others = (other for other in (size, usual + 32, 2 * usual) if other != usual)
    other = next((other for other in others if impossible(name, "native", other) is None), usual)
    source = get_pretrained_cfg(name)
    published = bool(source is not None and source.has_weights)
    poolings = [kind for kind in get_args(Pooling) if impossible(name, kind, size) is None]
    row |= {
        "poolings": " ".join(poolings),
        "misfits": " ".join(
            kind for kind in poolings if kind in RESHAPING and published and weights_problem(name, kind, usual)
        ),
        "dropout": int(has_effect(name, "dropout", usual)),
        "drop_path": int(has_effect(name, "drop_path", usual)),
        "num_blocks": num_blocks(name, usual),
        "finetune": finetuning(name),
        "published": int(published),
        "resizable": int(other == usual or weights_problem(name, "native", other) is None),
    }
    try:
        row |= _trained(name, size)
        row |= _cost(name, usual)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        too_large = isinstance(error, Infeasible) or is_out_of_memory(error)
        said = f"{type(error).__name__}: {reason(error)}"[:300]
        if not too_large:
            row |= {"outcome": "failed", "reason": said}
        elif "outcome" not in row:  # else it is right at this size, and only what the usual one costs is not known
            row |= {"outcome": "infeasible", "reason": said}
    return {**row, "cpu_s": _since(began)}


def refused(config: ImageConfig) -> str | None:
    """Why the check refuses a configuration; what it only warns of is no refusal."""
    return next((problem.message for problem in ImageClassifier.check(config) if problem.fatal), None)


def trained_size(name: str, usual: int) -> int:
    """The smallest resolution from 64 pixels on, of those that people use, that a name can be trained on."""
    sizes = [size for size in TRIED_SIZES if 64 <= size <= usual]
    return next(size for size in (*sizes, usual) if impossible(name, "native", size) is None)


def counted(name: str) -> dict[str, Any]:
    """A row of no more than the name's parameters, as it was published: with 1,000 classes."""
    row: dict[str, Any] = {"name": name, "module": _model_to_module[name], "usual_resolution": usual_resolution(name)}
    with torch.device("meta"), suppress(*FAILURES):  # an encoder has no classifier
        model = build_model(_config(name, usual_resolution(name)), 1000)
        row["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    return row


def without_memory(name: str, usual: int) -> dict[str, Any]:
    """What steps on the meta device show: sizes, and what a step keeps of an image for its backward pass."""
    sizes = sizes_of(name, usual)
    kept = f"{image_bytes(name, 'native', usual) / 1024**2:.3g}"
    from_size = pools_from(name, sizes["smallest_resolution"]) if sizes["any_size"] else ""
    return {**sizes, "pools_from": from_size, "kept_mib": kept}


def pools_from(name: str, smallest: int) -> int:
    """The smallest resolution at which kinds of pooling differ, exactly for a model that works on any from `smallest`.

    Returns:
        0: they differ on all, or on none of those that people use.
    """
    source = get_pretrained_cfg(name)
    fixed = source is not None and source.fixed_input_size

    @lru_cache(maxsize=1)
    def built(size: int) -> nn.Module:
        return build_model(_config(name, size), len(CLASSES)).eval()

    @lru_cache
    def pools(size: int) -> bool:
        found: list[bool] = []
        with torch.device("meta"), torch.no_grad(), suppress(*FAILURES):
            model = built(size if fixed else smallest)
            places = [module for module in model.modules() if isinstance(module, SelectAdaptivePool2d)]
            hooks = [p.register_forward_pre_hook(lambda _, maps: found.append(is_one_pixel(maps[0]))) for p in places]
            model(torch.zeros(1, 3, size, size))
            for hook in hooks:
                hook.remove()
            return not found or not found[-1]
        return False

    if pools(smallest):
        return 0
    # Most models halve five times: 32 pixels become one, and 33 become four.
    larger = (size for size in (33, *TRIED_SIZES) if size > smallest)
    first = next((size for size in larger if pools(size)), 0)
    low, middle = smallest, first - 1
    while first - low > 1:
        low, first = (low, middle) if pools(middle) else (middle, first)
        middle = (low + first) // 2
    return first


def sizes_of(name: str, usual: int) -> dict[str, int]:
    """The smallest resolution that a model can be trained on, and whether it can be on any above that.

    Where it can, the smallest is exact; else it is the smallest of those that people use.
    """

    def works(size: int) -> bool:
        return impossible(name, "native", size) is None

    sizes = [size for size in TRIED_SIZES if size <= usual]
    smallest = next((size for size in sizes if works(size)), usual)
    any_size = all(works(size) for size in (smallest + 3, 101, usual + 17) if size > smallest)
    low = max((size for size in sizes if size < smallest), default=smallest - 1)
    while any_size and smallest - low > 1:
        middle = (low + smallest) // 2
        low, smallest = (low, middle) if works(middle) else (middle, smallest)
    return {"smallest_resolution": smallest, "any_size": int(any_size)}


def finetuning(name: str) -> str:
    """Which ways of fine-tuning do what they say, and are accepted by the check: a part of `FINETUNING`.

    `head` trains some of the model, `last_n` more than that, `full` all of it; of `layer_lr_decay` at least three
    depths learn at rates of their own.
    """
    from benchmarks.models_settings import accepted, built, configured, learning

    plain = configured(name)
    net = built(plain)
    total = sum(parameter.numel() for parameter in net.parameters())

    def trained(**values: Any) -> tuple[int, int]:
        config = plain.model_copy(update=values)
        if not accepted(config, values):
            return 0, 0
        groups = learning(net, config)
        return sum(number for _, _, number in groups), len({rate for rate, _, _ in groups})

    (head, _), (last, _) = trained(finetune="head"), trained(finetune="last_n", unfrozen_blocks=1)
    (full, _), (_, rates) = trained(finetune="full"), trained(finetune="full", layer_lr_decay=0.5)
    works = (0 < head < total, head < last < total, full == total, rates > 2)
    return " ".join(way for way, does in zip(FINETUNING, works, strict=True) if does)


def _config(name: str, size: int, **values: Any) -> ImageConfig:
    base = {"model": name, "finetune": "scratch", "input_resolution": size, "epochs": 2, "batch_size": BATCH}
    return ImageConfig.model_validate({**base, "optimizer": "sgd", "lr": 1e-3, "mixed_precision": "no", **values})


def _cost(name: str, usual: int) -> dict[str, Any]:
    """Seconds and memory of a step on a batch of 4, and of one image, at the usual size, on one thread."""
    torch.set_num_threads(1)
    config = _config(name, usual)
    before = psutil.Process().memory_info().rss
    model = channels_last(build_model(config, len(CLASSES))).train()
    images = torch.rand(BATCH, 3, usual, usual).contiguous(memory_format=torch.channels_last)
    most = 0

    def step() -> None:
        nonlocal most
        loss = model(images).float().logsumexp(dim=1).mean()
        most = max(most, psutil.Process().memory_info().rss)
        loss.backward()
        most = max(most, psutil.Process().memory_info().rss)

    with torch.no_grad():  # the first pass also chooses how to compute
        model(images[:2])
    seconds = _seconds(step)
    model.eval()
    with torch.inference_mode():
        one = _seconds(lambda: model(images[:1]))
    return {
        "step_s": f"{seconds:.3g}",
        "step_mib": round(max(0, most - before) / 1024**2),
        "image_ms": f"{1000 * one:.3g}",
    }


def _seconds(call: Callable[[], Any]) -> float:
    """CPU seconds: those of the wall are the other processes', too."""
    began = time.process_time()
    call()
    return time.process_time() - began


def _trained(name: str, size: int) -> dict[str, Any]:
    """Check, two epochs with a stop between them, load, spread the outputs, ONNX, agreement."""
    from benchmarks.models_data import Pictures

    config = _config(name, size)
    if told := refused(config):
        return {"outcome": "refused", "reason": told}
    pictures = Pictures(size)
    with TemporaryDirectory() as folder:
        trial = Path(folder) / "trial"
        pictures.train(config, trial, stop_after=1)
        (checkpoint,) = pictures.train(config, trial, attempt=2).glob("epoch-00002")
        model = load_trained(config, len(CLASSES), checkpoint)
        spread = spread_out(model, pictures.images)
        row: dict[str, Any] = {"spread": f"{spread:.3g}", "stored_features": pictures.features(name, size, folder)}
        path = Path(folder) / ONNX_FILE
        graph = DeployedClassifier(model, *normalization(model), False).eval()
        try:
            write_onnx(graph, PackageFacts(CLASSES, False, size, 3), path)
        except NotExportable as error:
            return {**row, "onnx": 0, "outcome": "right", "reason": str(error)[:300]}

        def reference(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            rows = np.arange(len(images))
            logits = compute_logits(model, GivenImages(images), rows, torch.device("cpu"))
            return torch.from_numpy(logits).softmax(dim=-1).numpy()

        exact = partial(exact_probabilities, graph)
        agreement = compare(Package(path), reference, pictures.images, "train", exact)
    row |= {"onnx": 1, "max_difference": f"{agreement.max_difference:.2g}"}
    if not agreement.agrees:
        return {**row, "outcome": "failed", "reason": f"ONNX differs by {agreement.max_difference:.2g}"}
    return {**row, "outcome": "right"}


@torch.no_grad()
def spread_out(model: nn.Module, images: npt.NDArray[np.uint8]) -> float:
    """Makes a barely trained model answer pictures differently, so that agreement says something.

    Statistics of normalisations become those of the pictures, and the classifier is scaled until its outputs differ
    by two over the pictures.

    Returns:
        The largest difference between the probabilities of two pictures.
    """
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in normalization(model))
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255.0 - mean) / std
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    # Layer scales and last normalisations begin at next to nothing: a new CaiT answers every picture alike.
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and not name.endswith("bias") and float(parameter.abs().max()) < 0.01:
            parameter.fill_(1.0)
    model(pixels)
    model.eval()
    logits = model(pixels)
    scale = 2.0 / float(logits.std(dim=0).mean().clamp(min=1e-12))
    found = model.get_classifier()  # type: ignore[operator]
    for head in found if isinstance(found, tuple) else (found,):
        for parameter in head.parameters():
            parameter.mul_(scale)
    probabilities = model(pixels).softmax(dim=1)
    return float((probabilities.amax(dim=0) - probabilities.amin(dim=0)).max())


def _since(began: float) -> float:
    return round(_cpu_s() - began, 1)


def _cpu_s() -> float:
    """Of this process and of the one that rehearses for the check."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(spent.user + spent.system for spent in times)
