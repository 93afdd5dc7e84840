"""The model package: exported, verified on real images, described."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from trainables.errors import NotExportable, TrainableError
from trainables.image.compute.threads import threads
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.data_config import DataConfig
from trainables.image.deployment.agreement import (
    TOLERANCE,
    Pixels,
    Probabilities,
    check_file,
    compare,
    require,
    without_folders,
)
from trainables.image.deployment.exactly import exact_probabilities
from trainables.image.deployment.model_card import README_FILE, model_card
from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
from trainables.image.deployment.plain_weights import architecture, verify_weights
from trainables.image.deployment.untrained import num_flops
from trainables.image.index import ImageIndex
from trainables.image.models.ensemble import Ensemble
from trainables.image.models.factory import normalization
from trainables.image.package import CARD_FILE, INPUT, ONNX_FILE, OUTPUT, THRESHOLD, WEIGHTS_FILE, Package, PackageFacts
from trainables.image.pixels.decode import UnreadableImage, decode
from trainables.image.pixels.examples import open_pixels, rule_of
from trainables.image.pixels.pictures import pictures_of
from trainables.image.settings.pixel_rule import MAX_PIXELS
from trainables.image.training.checkpoint import load_trained, state_to_save
from trainables.image.training.evaluate import GivenImages, chosen_threshold, compute_logits
from trainables.image.training.members import members_of

NUM_VERIFIED = 256
"""Images that the exported model is compared on, at most; spread evenly over the split."""
NUM_OWN_SIZE = 16
"""Of these, as many go through once more at their own size, to see what resizing in the graph changes."""
ORIGIN_KEYS = ("sweep", "trial", "name", "epoch", "refit", "candidate", "temperature")
"""What of `info` the ONNX file itself carries."""
METRIC_KEYS = ("metrics", "final_metrics")
"""What of `info` are the model's figures: at its best epoch, and in the final evaluation."""
LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "safetensors")


def export_package(
    config: ImageConfig,
    data: DataConfig,
    folder: Path,
    checkpoint: Path,
    package: Path,
    info: Mapping[str, Any],
    num_threads: int = 1,
) -> Mapping[str, Any]:
    """Writes a model package and verifies it.

    A model without ONNX translation is published without `model.onnx`: `note` of what is returned says so.

    The package holds `model.onnx` (the whole way from uint8 pixels to probabilities), `model.safetensors` (the
    weights, by timm's names) `model.json` (what they are, where they come from, how well they agree)
    and `README.md` (the same for people).

    The graph takes images of any height and width and resizes them. `sweep predict` and the evaluation resize
    with Pillow before, as for training, so that both see the very same pixels; the graph then changes nothing.

    Args:
        config: of the trial.
        data: as in the sweep file.
        folder: where `prepare` left the index.
        checkpoint: the folder that the trial wrote.
        package: an existing, empty folder.
        info: of the model's origin, JSON-ready; goes into `model.json`, and `ORIGIN_KEYS` of it into the ONNX file.
        num_threads: CPU threads to use.

    Returns:
        What was verified, JSON-ready.

    Raises:
        TrainableError: the model cannot be exported, or does not agree with the trained one: do not publish.
    """
    started = time.monotonic()
    index = ImageIndex.load(folder / INDEX_FILE)
    if (trained_on := info.get("data_fingerprint")) and trained_on != index.fingerprint:
        raise TrainableError(
            f"{folder} is prepared for other data than the model was trained on (fingerprint {index.fingerprint}, "
            f"was {trained_on}): its classes could get wrong names. Put the data back as it was and resume the sweep"
        )
    model = load_trained(config, len(index.classes), checkpoint)
    mean, std = normalization(model)
    temperature: float | None = info.get("temperature", {}).get("value")
    facts = PackageFacts(
        classes=index.classes,
        multilabel=index.multilabel,
        input_resolution=config.input_resolution,
        channels=config.num_channels,
        threshold=_thresholds(config, data, index, model, checkpoint, num_threads, temperature),
        preprocessing=describe_preprocessing(config, mean, std, index.multilabel, temperature),
        origin=without_folders(
            {key: info[key] for key in ORIGIN_KEYS if key in info}
            | ({} if data.view == "images" else {"view": data.view})
        ),
        fit=config.fit,
        rule=replace(rule_of(index, data), max_pixels=MAX_PIXELS),
    )
    with threads(num_threads):
        save_file(state_to_save(model), package / WEIGHTS_FILE, metadata={"format": "pt"})
        classifier = DeployedClassifier(model, mean, std, index.multilabel, temperature).eval()
        try:
            write_onnx(classifier, facts, package / ONNX_FILE)
        except NotExportable as error:
            (package / ONNX_FILE).unlink(missing_ok=True)
            if isinstance(model, Ensemble):
                raise TrainableError(
                    f"an ensemble is published as ONNX alone, and this one has none: {error}"
                ) from error
            verification = verify_weights(config, model, index, data, package / WEIGHTS_FILE, num_threads)
            verification["note"] = (
                f"the package has no {ONNX_FILE}: {error}. {WEIGHTS_FILE} holds the weights, {README_FILE} the code "
                "that loads them"
            )
        else:
            verification = _verify(model, index, data, package / ONNX_FILE, facts, num_threads, temperature)
    verification["export_s"] = round(time.monotonic() - started, 2)
    card = _card(config, model, index, facts, verification, info, package)
    if isinstance(model, Ensemble):
        card["num_backbones"] = model.num_backbones
        card["networks"] = [
            {"model": each.model, "input_resolution": each.input_resolution} for each in members_of(checkpoint)[0]
        ]
    (package / CARD_FILE).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (package / README_FILE).write_text(model_card(card), encoding="utf-8")
    # safetensors lets nobody but the owner read what it writes; a package is for others, too.
    (package / WEIGHTS_FILE).chmod((package / CARD_FILE).stat().st_mode)
    return verification


def describe_preprocessing(
    config: ImageConfig,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    multilabel: bool,
    temperature: float | None = None,
) -> dict[str, Any]:
    """What the graph does to an image, in order, and what it expects; for people who use it elsewhere."""
    side = config.input_resolution
    return {
        "input": {
            "name": INPUT,
            "type": "uint8",
            "layout": "NHWC",
            "color": "RGB" if config.num_channels == 3 else "grey",
            "upright": "turned by the EXIF orientation beforehand",
        },
        "in_graph": {
            "resize": f"{config.fit.describe(side)}; images of {side}×{side} pass unchanged",
            "scale": "divided by 255",
            "mean": list(mean),
            "std": list(std),
        },
        "output": {
            "name": OUTPUT,
            "function": "sigmoid" if multilabel else "softmax",
            **({} if temperature is None else {"temperature": temperature}),
        },
    }


def _thresholds(
    config: ImageConfig,
    data: DataConfig,
    index: ImageIndex,
    model: torch.nn.Module,
    checkpoint: Path,
    num_threads: int,
    temperature: float | None,
) -> float | tuple[float, ...]:
    """From which probability a label counts: as the evaluation has it, in the exported model's probabilities."""
    if not index.multilabel:
        return THRESHOLD
    pixels = open_pixels(index, data, config.input_resolution, config.num_channels, num_threads, fit=config.fit)
    with contextlib.closing(pixels), threads(num_threads):
        threshold = chosen_threshold(config, index, model, pixels, checkpoint)
    if temperature is not None:
        # A probability of `threshold` is this one when logits are divided: decisions stay.
        scaled = (torch.as_tensor(threshold, dtype=torch.float64).logit() / temperature).sigmoid()
        threshold = float(scaled) if isinstance(threshold, float) else scaled
    return threshold if isinstance(threshold, float) else tuple(threshold.tolist())


def _verify(
    model: torch.nn.Module,
    index: ImageIndex,
    data: DataConfig,
    path: Path,
    facts: PackageFacts,
    num_threads: int,
    temperature: float | None,
) -> dict[str, Any]:
    """Compares the file with the trained model on images of the test split (of val if there is no test).

    Both get the pixels that the evaluation uses, so that this is also a check of the normalisation.
    """
    check_file(path)
    exported = Package(path, num_threads)
    if exported.facts != facts:
        raise TrainableError(f"the exported ONNX file says {exported.facts} of itself instead of {facts}")
    split = next(split for split in ("test", "val", "train") if len(index.rows(split)))
    rows = index.rows(split)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, NUM_VERIFIED).astype(np.int64))]
    pixels = open_pixels(index, data, facts.input_resolution, facts.channels, num_threads, fit=facts.fit)
    reference = partial(_probabilities, model, facts.multilabel, temperature)
    with contextlib.closing(pixels):
        images = pixels.gather(rows)
    classifier = DeployedClassifier(model, *normalization(model), facts.multilabel, temperature)
    agreement = compare(exported, reference, images, split, partial(exact_probabilities, classifier))
    require(agreement)
    return {
        "onnx_checker": "passed",
        **agreement.to_json(),
        "own_size": _at_own_size(reference, index, data, exported, rows),
    }


def _at_own_size(
    reference: Callable[[Pixels], Probabilities],
    index: ImageIndex,
    data: DataConfig,
    exported: Package,
    rows: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """How far resizing in the graph is from resizing with Pillow; grey levels may be rounded otherwise, so no gate."""
    facts = exported.facts
    differences, same = [], 0
    pictures = pictures_of(index.table.take(rows[:NUM_OWN_SIZE]))
    for picture, region in ((each, region) for each in pictures for region in each.regions):
        options: dict[str, Any] = {**vars(region), "channels": facts.channels, "rule": rule_of(index, data)}
        try:
            source = picture.read()
            whole = decode(source, **options)
            square = decode(source, resolution=facts.input_resolution, fit=facts.fit, **options)
        except (UnreadableImage, OSError):
            continue  # gone since the data was prepared: the comparison that counts has its pixels
        (one,) = exported.probabilities(whole[np.newaxis])
        (other,) = reference(square[np.newaxis])
        differences.append(float(np.abs(one - other).max()))
        same += (
            bool(((one >= facts.thresholds) == (other >= facts.thresholds)).all())
            if facts.multilabel
            else bool(one.argmax() == other.argmax())
        )
    return {"num_images": len(differences), "num_agreeing": same, "max_difference": max(differences, default=0.0)}


def _probabilities(
    model: torch.nn.Module, multilabel: bool, temperature: float | None, images: Pixels
) -> Probabilities:
    """The trained model's way from pixels to probabilities, as in the evaluation, and with its temperature."""
    rows = np.arange(len(images))
    logits = torch.from_numpy(compute_logits(model, GivenImages(images), rows, torch.device("cpu")))
    if temperature is not None:
        logits = logits / temperature
    return (logits.sigmoid() if multilabel else logits.softmax(dim=-1)).numpy()


def _card(
    config: ImageConfig,
    model: torch.nn.Module,
    index: ImageIndex,
    facts: PackageFacts,
    verification: Mapping[str, Any],
    info: Mapping[str, Any],
    package: Path,
) -> dict[str, Any]:
    """What `model.json` holds."""
    return {
        "format": json.loads(facts.to_metadata()["format"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(facts.classes),
        "multilabel": facts.multilabel,
        "threshold": facts.threshold,
        "input_resolution": facts.input_resolution,
        "channels": facts.channels,
        "preprocessing": facts.preprocessing,
        "config": without_folders(config.model_dump(mode="json")),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_flops": num_flops(model, config),
        "data": {
            "fingerprint": index.fingerprint,
            **({"view": facts.origin["view"], "shown": facts.shown} if facts.shown else {}),
            "num_examples": {split: len(index.rows(split)) for split in ("train", "val", "test")},
            **({"num_folds": index.num_folds} if index.num_folds else {}),
        },
        "metrics": {**info.get("metrics", {}), **info.get("final_metrics", {})},
        "verification": dict(verification),
        "tolerance": {"value": TOLERANCE, "of": "1" if facts.multilabel else "the row's largest probability"},
        "origin": without_folders({key: value for key, value in info.items() if key not in METRIC_KEYS}),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "architecture": None if isinstance(model, Ensemble) else architecture(config, model),
        "files": {
            name: (package / name).stat().st_size for name in (ONNX_FILE, WEIGHTS_FILE) if (package / name).exists()
        },
    }
