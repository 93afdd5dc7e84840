"""The model for OpenVINO, in 32-bit floats: read from the ONNX file by OpenVINO itself, for images of one size.

OpenVINO reads ONNX's resizing without its antialiasing (2026.4), so that the part of the graph that resizes would
answer otherwise. The file therefore takes images of the model's resolution alone, which needs no resizing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trainables.extras import install_command
from trainables.image.deployment.formats.recipe import CannotConvert, FloatModel, Recipe, refused
from trainables.image.openvino_file import METADATA
from trainables.image.package import INPUT, Package

MOST_APART = 1e-3
"""Between a probability of the file and one of the float ONNX file: rounding is a hundred times smaller."""


def recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]:
    """One: the network as it is.

    Raises:
        CannotConvert: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise CannotConvert(f"OpenVINO is not installed: {install_command('openvino')}") from error

    def write(path: Path) -> None:
        source = Package(model.path, model.num_threads)
        facts = source.facts
        with refused(model, "OpenVINO"):
            network = openvino.Core().read_model(model.path)
            network.reshape({INPUT: [-1, facts.input_resolution, facts.input_resolution, facts.channels]})
            network.set_rt_info(json.dumps(facts.to_metadata()), METADATA)
            openvino.save_model(network, path, compress_to_fp16=False)
        images = model.calibration[:32]
        found = Package(path, model.num_threads).probabilities(images)
        apart = float(np.abs(found - source.probabilities(images)).max())
        if not apart <= MOST_APART:
            raise CannotConvert(f"OpenVINO answers otherwise than ONNX Runtime: probabilities up to {apart:.2g} apart")

    yield [Recipe(f"the network in 32 bits, for images of its own size, by OpenVINO {openvino.__version__[:8]}", write)]
