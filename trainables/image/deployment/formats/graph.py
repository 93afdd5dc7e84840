"""Which nodes of an exported graph are the network, which come before it, and which after."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def name_nodes(graph: onnx.GraphProto) -> None:
    """Gives every node a name of its own, by which it can be left out."""
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)


def weighted_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The convolutions and products with learnt weights, in order."""
    learnt = {tensor.name for tensor in graph.initializer}
    return [
        node
        for node in graph.node
        if node.op_type in WEIGHTED and any(name in learnt for name in list(node.input)[1:2])
    ]


def before_the_network(graph: onnx.GraphProto) -> set[str]:
    """The names of the nodes that no weighted one comes before: they resize, scale and normalise the pixels."""
    weighted = {node.name for node in weighted_nodes(graph)}
    behind: set[str] = set()  # tensors
    before = set()
    for node in graph.node:  # ONNX has them in order
        if node.name in weighted or any(name in behind for name in node.input):
            behind.update(node.output)
        else:
            before.add(node.name)
    return before


def end_of_the_network(graph: onnx.GraphProto) -> set[str]:
    """The names of the last weighted nodes (the classifier) and of all that follows them (softmax or sigmoid)."""
    weighted = {node.name for node in weighted_nodes(graph)}
    leads: set[str] = set()  # tensors that lead to a weighted node
    end = set()
    for node in reversed(graph.node):
        if any(name in leads for name in node.output):
            leads.update(node.input)
        else:
            end.add(node.name)
            if node.name in weighted:
                leads.update(node.input)
    return end


def set_metadata(model: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """Lets a model say of itself what its source says: classes, resolution, origin."""
    del model.metadata_props[:]
    model.metadata_props.extend(source.metadata_props)
