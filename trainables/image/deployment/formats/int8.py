"""Weights and activations in 8 bits, by ONNX Runtime's quantizer: static, QDQ, a scale for each channel of a weight.

What activations are like is seen on pictures of train. Resizing and scaling the pixels, the classifier and its softmax
stay in float: they cost next to nothing, and 8 bits are too few for them (a softmax in 8 bits knows 256 probabilities).
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainables.image.deployment.formats.graph import (
    before_the_network,
    end_of_the_network,
    name_nodes,
    set_metadata,
    weighted_nodes,
)
from trainables.image.deployment.formats.recipe import CannotConvert, FloatModel, Recipe, refused
from trainables.image.package import INPUT

if TYPE_CHECKING:
    import onnx

FEWEST = 32
"""Pictures of train to calibrate on: of fewer the range of an activation is chance."""

WITH_KERNELS = (
    "Conv", "Gemm", "MatMul", "Add", "Mul", "GlobalAveragePool", "AveragePool", "MaxPool", "Concat", "Sigmoid", "Relu",
    "Clip", "LeakyRelu",
)  # fmt: skip
"""What ONNX Runtime computes in 8 bits on a CPU. All else would go to float and back."""
WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Where nearly all of the time is spent."""

METHODS = {
    "MinMax": "the whole range that activations had",
    "Percentile": "the range of 99.99 % of the activations",
    "Entropy": "the range that keeps most of the activations' distribution",
}
"""How ONNX Runtime turns what was seen into the range that 8 bits stand for."""
_PERCENTILE = 99.99
_WARNINGS, _ERRORS = 2, 3
"""Of ONNX Runtime's log; it begins with warnings."""
_PIECE = 8
"""Pictures at a time: a histogram is made of every activation of them."""


def recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]:
    """All that has kernels in 8 bits; then convolutions and matrix products alone; then without the delicate ones.

    Raises:
        CannotConvert: too few pictures to calibrate on, or the quantizer does not take the model.
    """
    if len(model.calibration) < FEWEST:
        raise CannotConvert(
            f"train has {len(model.calibration)} images to calibrate on. With fewer than {FEWEST}, the range of an "
            "activation is chance: other images would be clipped"
        )
    source = _prepared(model)
    # Each method looks at the pictures once, and only if it is asked for.
    ranges = cache(partial(_calibrated, source, model))
    left_float = before_the_network(source.graph) | end_of_the_network(source.graph)
    if not {node.name for node in weighted_nodes(source.graph)} - left_float:
        raise CannotConvert("nothing of the network before its classifier can be computed in 8 bits")
    delicate = _delicate(source.graph) - left_float

    def group(kinds: Sequence[str], excluded: set[str], what: str) -> list[Recipe]:
        return [
            Recipe(f"{method}, {what}", partial(_write, model, source, kinds, excluded, method, ranges))
            for method in METHODS
        ]

    yield group(WITH_KERNELS, left_float, "all that has kernels in 8 bits")
    yield group(WEIGHTED, left_float, "convolutions and matrix products")
    if delicate:
        yield group(
            WEIGHTED,
            left_float | delicate,
            "convolutions and matrix products but for the first one and the depthwise ones",
        )


def _delicate(graph: onnx.GraphProto) -> set[str]:
    """The first weighted node, which sees the pixels, and depthwise convolutions: few weights for each output."""
    nodes = weighted_nodes(graph)
    depthwise = {node.name for node in nodes if any(each.name == "group" and each.i > 1 for each in node.attribute)}
    return depthwise | {node.name for node in nodes[:1]}


def _prepared(model: FloatModel) -> onnx.ModelProto:
    """The float model as the quantizer wants it: constants folded, every shape known."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = model.scratch / "prepared.onnx"
    with refused(model, "ONNX Runtime's quantizer"), _silent():
        # Symbolic shapes are inferred for transformers of text; some graphs of vision stop it.
        quant_pre_process(str(model.path), str(path), skip_symbolic_shape=True)
    prepared = onnx.load(path)
    name_nodes(prepared.graph)
    onnx.save(prepared, path)
    return prepared


def _calibrated(source: onnx.ModelProto, model: FloatModel, method: str) -> Path:
    """The file of ranges that a method gives."""
    import onnxruntime as ort
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator, save_tensors_data

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = model.num_threads, 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    ranges, augmented = model.scratch / f"ranges-{method}.json", model.scratch / "augmented.onnx"
    with refused(model, "ONNX Runtime's quantizer"), _silent():
        calibrator = create_calibrator(
            model.scratch / "prepared.onnx",
            WITH_KERNELS,
            str(augmented),
            CalibrationMethod[method],
            extra_options={"percentile": _PERCENTILE, "symmetric": False},
        )
        # Its own session computes without any optimization, on every CPU there is.
        calibrator.infer_session = ort.InferenceSession(str(augmented), options, providers=["CPUExecutionProvider"])
        for start in range(0, len(model.calibration), _PIECE):
            calibrator.collect_data(_Pictures(model.calibration[start : start + _PIECE]))
        save_tensors_data(calibrator.compute_data(), ranges)
    augmented.unlink(missing_ok=True)
    return ranges


def _write(
    model: FloatModel,
    source: onnx.ModelProto,
    kinds: Sequence[str],
    excluded: set[str],
    method: str,
    ranges: Any,
    path: Path,
) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationMethod

    known = ranges(method)
    with refused(model, "ONNX Runtime's quantizer"), _silent():
        quantize_static(
            str(model.scratch / "prepared.onnx"),
            str(path),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(kinds),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(excluded),
            calibrate_method=CalibrationMethod[method],
            calibration_cache_path=known,
        )
    made = onnx.load(path)
    set_metadata(made, onnx.load(model.path))
    path.write_bytes(made.SerializeToString())


class _Pictures:
    """Some pictures, for ONNX Runtime's calibration: all at once, then none."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._images: npt.NDArray[np.uint8] | None = images

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        images, self._images = self._images, None
        return None if images is None else {INPUT: images}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The quantizer prints, warns, and gives advice through the root logger, which would print from then on."""
    import onnxruntime as ort

    root = logging.getLogger()
    handler, before = logging.NullHandler(), root.manager.disable
    root.addHandler(handler)  # without any, `logging.warning` adds one that prints
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(_ERRORS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        ort.set_default_logger_severity(_WARNINGS)
        logging.disable(before)
        root.removeHandler(handler)
