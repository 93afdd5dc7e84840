"""Measures size and latency of a model before it is trained: its graph is the same with random weights."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainables.errors import NotExportable
from trainables.facts import NUM_FLOPS, NUM_PARAMETERS, ONNX_BYTES, settings_of
from trainables.image.compute.threads import threads
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.deployment.latency import latency_facts
from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
from trainables.image.index import ImageIndex
from trainables.image.models.factory import build_model, normalization
from trainables.image.package import ONNX_FILE, PackageFacts


def measure_untrained(
    config: ImageConfig, folder: Path, facts: Sequence[str], num_threads: int = 1
) -> Mapping[str, float]:
    """The facts of an untrained model that can be had; without an ONNX translation there is neither size nor latency.

    Args:
        config: model, pooling, input_resolution, color, width and batch_norm count.
        folder: where `prepare` left the index, which knows the classes.
        facts: the names that are wanted.
        num_threads: CPU threads to use; a latency has its own.
    """
    index = ImageIndex.load(folder / INDEX_FILE)
    with threads(num_threads):
        model = build_model(config, len(index.classes)).eval()
        found: dict[str, float] = {NUM_PARAMETERS: sum(each.numel() for each in model.parameters())}
        if NUM_FLOPS in facts:
            found[NUM_FLOPS] = num_flops(model, config)
        settings = settings_of(facts)
        if not settings and ONNX_BYTES not in facts:
            return found
        mean, std = normalization(model)
        described = PackageFacts(
            classes=index.classes,
            multilabel=index.multilabel,
            input_resolution=config.input_resolution,
            channels=config.num_channels,
            fit=config.fit,
        )
        with tempfile.TemporaryDirectory(prefix="untrained-") as temporary:
            file = Path(temporary) / ONNX_FILE
            try:
                write_onnx(DeployedClassifier(model, mean, std, index.multilabel).eval(), described, file)
            except NotExportable:
                return found
            found[ONNX_BYTES] = file.stat().st_size
            if settings:
                found |= latency_facts(file, settings)
    return found


def num_flops(model: nn.Module, config: ImageConfig) -> int:
    """Floating-point operations of one picture's forward pass: two for each multiplication with its addition.

    Counts convolutions, matrix products and attention, as `torch.utils.flop_counter` does.
    """
    side = config.input_resolution
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, config.num_channels, side, side))
    return int(counter.get_total_flops())
