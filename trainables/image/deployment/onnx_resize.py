"""The first part of the exported graph: uint8 images of any height and width become squares, as `Fit` says.

It copies what Pillow does for training: bilinear with antialiasing, first the width, then the height, rounded to whole
grey levels after each; a grey level differs by 1, rarely 2, here and there. Images that have the size of the square
already are taken for prepared and pass unchanged, at no measurable cost.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from trainables.image.pixels.fit import Fit
from trainables.image.pixels.masks import MEAN_COLOR

_PREFIX = "resize/"
_OUTPUT = _PREFIX + "squares"
_NCHW = (0, 3, 1, 2)
_NHWC = (0, 2, 3, 1)


def put_before(core: onnx.ModelProto, side: int, channels: int, fit: Fit) -> onnx.ModelProto:
    """A graph that makes squares, and gives them to another one.

    Args:
        core: takes (batch, side, side, channels) uint8.
        side: of the squares.
        channels: 3 for RGB, 1 for grey.
        fit: how images become squares.

    Returns:
        The same, taking (batch, height, width, channels) uint8.
    """
    name = core.graph.input[0].name
    graph = _Builder(name, side, channels).build(fit)
    opset = [each for each in core.opset_import if each.domain == ""]
    first = helper.make_model(graph, opset_imports=opset, ir_version=core.ir_version)
    merged = compose.merge_models(first, core, io_map=[(_OUTPUT, name)], name=core.graph.name)
    # Both parts have the same operators, and the merged model names them twice, which ONNX Runtime's quantizer refuses.
    del merged.opset_import[:]
    merged.opset_import.extend(core.opset_import)
    merged.graph.input[0].name = name  # free again: what followed it follows the squares now
    for node in merged.graph.node:
        for place, given in enumerate(node.input):
            if given == _PREFIX + name:
                node.input[place] = name
    return merged


class _Builder:
    """Writes nodes one after the other; what a method returns is the name of a value."""

    def __init__(self, name: str, side: int, channels: int) -> None:
        self.name, self.side, self.channels = name, side, channels
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def build(self, fit: Fit) -> onnx.GraphProto:
        pixels = self.add("Transpose", self.add("Cast", self.input, to=TensorProto.FLOAT), perm=_NCHW)
        squares = getattr(self, fit.resize)(pixels, fit)
        squares = self.add("Cast", self.add("Transpose", squares, perm=_NHWC), to=TensorProto.UINT8)
        square = ["batch", self.side, self.side, self.channels]
        # The shape is known here, and told to what follows.
        shape = self.ints(0, self.side, self.side, self.channels)
        self.nodes.append(helper.make_node("Reshape", [squares, shape], [_OUTPUT]))
        return helper.make_graph(
            self.nodes,
            "resize",
            [helper.make_tensor_value_info(self.input, TensorProto.UINT8, ["batch", "height", "width", self.channels])],
            [helper.make_tensor_value_info(_OUTPUT, TensorProto.UINT8, square)],
            list(self.constants.values()),
        )

    @property
    def input(self) -> str:
        return _PREFIX + self.name

    def squash(self, pixels: str, fit: Fit) -> str:
        side = self.ints(self.side)
        return self.scaled(self.scaled(pixels, 3, side), 2, side)

    def crop(self, pixels: str, fit: Fit) -> str:
        height, width = self.sizes()
        side = self.ints(self.side)
        both = self.add("And", self.add("Equal", height, side), self.add("Equal", width, side))
        shorter = self.add("Where", both, side, self.ints(fit.shorter(self.side)))
        smaller = self.add("Min", height, width)
        for axis, length in ((3, width), (2, height)):
            size = self.add("Div", self.add("Mul", shorter, length), smaller)
            pixels = self.middle(self.scaled(pixels, axis, size), axis, size)
        return pixels

    def middle(self, pixels: str, axis: int, size: str) -> str:
        """The middle `side` of an axis of this size; halves are rounded to even, as Python does it."""
        spare = self.add("Cast", self.add("Sub", size, self.ints(self.side)), to=TensorProto.FLOAT)
        start = self.add("Cast", self.add("Round", self.add("Div", spare, self.float(2))), to=TensorProto.INT64)
        return self.add("Slice", pixels, start, self.add("Add", start, self.ints(self.side)), self.ints(axis))

    def pad(self, pixels: str, fit: Fit) -> str:
        height, width = self.sizes()
        larger = self.add("Cast", self.add("Max", height, width), to=TensorProto.DOUBLE)
        side = self.constant(np.array([self.side], np.float64))
        first: list[str] = []
        last: list[str] = []
        for axis, length in ((3, width), (2, height)):
            exact = self.add("Div", self.add("Mul", side, self.add("Cast", length, to=TensorProto.DOUBLE)), larger)
            size = self.add("Max", self.add("Cast", self.add("Round", exact), to=TensorProto.INT64), self.ints(1))
            pixels = self.scaled(pixels, axis, size)
            spare = self.add("Sub", self.ints(self.side), size)
            first.insert(0, self.add("Div", spare, self.ints(2)))
            last.insert(0, self.add("Sub", spare, first[0]))
        # Pad knows one value for all channels: the colour is taken off before and put on again after.
        colour = MEAN_COLOR if self.channels == 3 else (_grey(MEAN_COLOR),)
        mean = self.constant(np.array(colour, np.float32).reshape(1, -1, 1, 1))
        none = self.ints(0, 0)
        pads = self.add("Concat", none, *first, none, *last, axis=0)
        return self.add("Add", self.add("Pad", self.add("Sub", pixels, mean), pads, self.float(0)), mean)

    def sizes(self) -> tuple[str, str]:
        """Height and width of the images, each (1,) int64."""
        shape = self.add("Shape", self.input)
        return self.part(shape, 1, 2), self.part(shape, 2, 3)

    def part(self, shape: str, start: int, end: int) -> str:
        return self.add("Slice", shape, self.ints(start), self.ints(end))

    def scaled(self, pixels: str, axis: int, size: str) -> str:
        """(N, C, H, W) with another size along one axis, in whole grey levels again."""
        shape = self.add("Shape", pixels)
        sizes = self.add("Concat", self.part(shape, 0, axis), size, self.part(shape, axis + 1, 4), axis=0)
        # ONNX Runtime's shape inference does not follow `axes`, which would say the same.
        resized = self.add(
            "Resize", pixels, "", "", sizes,
            mode="linear", antialias=1, exclude_outside=1, coordinate_transformation_mode="half_pixel",
        )  # fmt: skip
        rounded = self.add("Floor", self.add("Add", resized, self.float(0.5)))
        return self.add("Clip", rounded, self.float(0), self.float(255))

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        output = f"{_PREFIX}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def float(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def constant(self, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        name = f"{_PREFIX}{values.dtype}_{'_'.join(map(str, np.ravel(values)))}_{values.ndim}"
        self.constants[name] = numpy_helper.from_array(values, name)
        return name


def _grey(colour: tuple[int, int, int]) -> int:
    """As Pillow converts RGB to L."""
    red, green, blue = colour
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
