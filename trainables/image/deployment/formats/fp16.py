"""Weights and activations in 16 bits: half the size. Faster where the device computes in 16 bits; most CPUs do not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainables.image.deployment.formats.graph import before_the_network, set_metadata
from trainables.image.deployment.formats.recipe import FloatModel, Recipe, refused


def recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]:
    """One: all of the network; resizing and scaling the pixels stay in 32 bits."""

    def write(path: Path) -> None:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        source = onnx.load(model.path)
        with refused(model, "ONNX Runtime's converter to 16 bits"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of single weights that are rounded to the least that 16 bits hold
            half = convert_float_to_float16(
                onnx.load(model.path), keep_io_types=True, node_block_list=sorted(before_the_network(source.graph))
            )
        set_metadata(half, source)
        path.write_bytes(half.SerializeToString())

    yield [Recipe("the network in 16 bits, pixels in 32", write)]
