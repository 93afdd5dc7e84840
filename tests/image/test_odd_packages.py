"""ONNX files that are no package of this project, or whose metadata somebody has changed: named, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.conftest import write_color_model
from trainables.errors import DataError
from trainables.image.package import ONNX_FILE, load_package

ODD: dict[str, str] = {
    "classes": "7",
    "classes of nothing": "[]",
    "threshold": '{"a": 1}',
    "threshold of null": "null",
    "threshold of lists": "[[1], [2], [3]]",
    "input_resolution": "null",
    "input_resolution of text": '"large"',
    "channels": "[3]",
    "origin": "[1]",
    "fit": '"squash"',
    "pixels": "3",
    "preprocessing": "null",
    "format": "[]",
}


def changed(model: Path, change: Any) -> Path:
    file = model / ONNX_FILE
    loaded = onnx.load(file)
    change(loaded)
    onnx.save(loaded, file)
    return file


@pytest.mark.parametrize("what", ODD)
def test_odd_metadata_is_told(tmp_path: Path, what: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        helper.set_model_props(
            model, {prop.key: prop.value for prop in model.metadata_props} | {what.partition(" ")[0]: ODD[what]}
        )

    file = changed(write_color_model(tmp_path / "model"), change)
    with pytest.raises(DataError, match="no exported model of this project"):
        load_package(file)


def test_another_graph_under_the_same_metadata_is_told(tmp_path: Path) -> None:
    def of_floats(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    with pytest.raises(DataError, match="its input is not"):
        load_package(changed(write_color_model(tmp_path / "floats"), of_floats))

    def two_outputs(model: onnx.ModelProto) -> None:
        model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]))

    with pytest.raises(DataError, match="its output is not"):
        load_package(changed(write_color_model(tmp_path / "two"), two_outputs))

    def fewer_classes(model: onnx.ModelProto) -> None:
        props = {prop.key: prop.value for prop in model.metadata_props}
        helper.set_model_props(model, props | {"classes": '["red", "green"]'})

    with pytest.raises(DataError, match="3 probabilities, and names 2 classes"):
        load_package(changed(write_color_model(tmp_path / "fewer"), fewer_classes))
