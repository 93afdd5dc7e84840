#!/usr/bin/env bash
# OpenVINO 2026.4.1: the ONNX operator Resize with antialias=1 is read as if it had antialias=0.
#
# The operator (since opset 18) makes an image smaller with a filter as wide as the step, as Pillow and PyTorch
# (antialias=True) do; ONNX Runtime computes it. OpenVINO converts and runs the model without a word, and gives the
# values of the unfiltered resize. A classifier whose ONNX file resizes its images sees other pixels there.
#
# Seen with openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, for stripes of one pixel, 64 x 64 to 20 x 20:
#   onnxruntime, antialias=1: values from 0.43 to 0.57
#   openvino,    antialias=1: values from 0.10 to 0.90, at most 0.0000 from onnxruntime with antialias=0
#
# Ends with 0 while this is so, with 1 when it has changed. Needs python3 with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper


def model(antialias):
    resize = helper.make_node(
        "Resize", ["image", "", "", "sizes"], ["small"], mode="linear", antialias=antialias,
        coordinate_transformation_mode="half_pixel",
    )
    graph = helper.make_graph(
        [resize], "resize",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 64, 64])],
        [helper.make_tensor_value_info("small", TensorProto.FLOAT, [1, 1, 20, 20])],
        [helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, 20, 20])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(made)
    path = f"{sys.argv[1]}/resize-{antialias}.onnx"
    onnx.save(made, path)
    return path


image = np.zeros((1, 1, 64, 64), np.float32)
image[..., ::2] = 1.0
with_filter, without = (
    onnxruntime.InferenceSession(model(antialias)).run(None, {"image": image})[0] for antialias in (1, 0)
)
core = openvino.Core()
exact = {"INFERENCE_PRECISION_HINT": "f32"}
found = core.compile_model(core.read_model(model(1)), "CPU", exact)(image)[0]
print(f"onnxruntime, antialias=1: values from {with_filter.min():.2f} to {with_filter.max():.2f}")
print(
    f"openvino,    antialias=1: values from {found.min():.2f} to {found.max():.2f}, "
    f"at most {np.abs(found - without).max():.4f} from onnxruntime with antialias=0"
)
as_described = np.abs(found - without).max() < 1e-3 and np.abs(found - with_filter).max() > 0.3
print("as described" if as_described else "changed")
sys.exit(0 if as_described else 1)
PYTHON
