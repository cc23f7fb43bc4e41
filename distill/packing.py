"""INT8 networks in few bytes: float layers' weights in 8 bits, short names, small IR."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_retrieval.encoder import INPUT, OUTPUT

LEAST_NUMBERS = 2048  # a smaller weight saves less than a kilobyte or two
MOST = 127


def pack_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the FP32 weights of products as signed 8 bits with one scale an output channel.

    A Cast and a Mul give each back when the file is loaded: both onnxruntime and OpenVINO compute
    what is constant once, then. A DequantizeLinear they would keep, and compute in every call.

    Args:
        model: Changed in place; what is quantized already is left as it is.

    Returns:
        The same model.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    uses = [name for node in graph.node for name in node.input]
    made: list[onnx.NodeProto] = []
    for node in graph.node:
        axis = _axis(node)
        tensor = weights.get(node.input[1]) if axis is not None and len(node.input) > 1 else None
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST_NUMBERS or uses.count(tensor.name) > 1:
            continue
        name = tensor.name
        packed, scale = _packed(values, axis or 0)
        tensor.CopyFrom(numpy_helper.from_array(packed, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        made += [
            onnx.helper.make_node(
                "Cast", [f"{name}_int8"], [f"{name}_whole"], to=onnx.TensorProto.FLOAT
            ),
            onnx.helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name]),
        ]
    nodes = [*made, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put every node behind those that it takes from, in place, and else leave the order.

    ONNX asks for that; onnxruntime sorts for itself, so that it takes files in which quantizers put
    nodes at the end, but others need not.

    Returns:
        The same model.
    """
    waiting = list(model.graph.node)
    missing = {name for node in waiting for name in node.output}
    ordered: list[onnx.NodeProto] = []
    while waiting:
        later = []
        for node in waiting:
            if any(name in missing for name in node.input):
                later.append(node)
            else:
                ordered.append(node)
                missing.difference_update(node.output)
        assert len(later) < len(waiting), "a network has no circles"
        waiting = later
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def shorten(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name what is inside a network by numbers, in place: the names are a tenth of a small file.

    Args:
        model: Its inputs and outputs keep their names; nodes have none any more, and the shapes
            between them are left to be inferred.

    Returns:
        The same model.
    """
    graph = model.graph
    kept = {end.name for end in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, str(len(names)))

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    del graph.value_info[:]
    return model


def pack_ir(path: Path) -> None:
    """Rewrite the .xml file of an IR without what no reader needs: a third of it.

    OpenVINO names layers by counting through the process, notes where the source lay, indents,
    says every shape at both ends of an edge, and writes the two ends of a range twice. Files
    written so are read by OpenVINO 2024.4, the oldest that we take, as well.

    Args:
        path: As ``openvino.save_model`` wrote it.
    """
    tree = ElementTree.parse(path)
    root = tree.getroot()
    for layer in root.iterfind("layers/layer"):
        if layer.get("type") not in ("Parameter", "Result"):
            layer.set("name", layer.attrib["id"])
    _share_constants(root)
    for port in root.iterfind("layers/layer/input/port"):
        port[:] = []
    for port in root.iterfind("layers/layer/output/port"):
        if port.get("names") not in (None, INPUT, OUTPUT):
            del port.attrib["names"]
    for notes in root.findall("rt_info"):
        root.remove(notes)
    for element in root.iter():
        element.text = (element.text or "").strip() or None
        element.tail = None
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _share_constants(root: ElementTree.Element) -> None:
    """Leave one layer for each constant."""
    layers, first, same = root.find("layers"), dict[str, str](), dict[str, str]()
    assert layers is not None
    for layer in layers.findall("layer"):
        data = layer.find("data")
        if layer.get("type") == "Const" and data is not None and layer.find("rt_info") is None:
            number = layer.attrib["id"]
            kept = first.setdefault(str(sorted(data.attrib.items())), number)
            if kept != number:
                same[number] = kept
                layers.remove(layer)
    for edge in root.iterfind("edges/edge"):
        source = edge.attrib["from-layer"]
        edge.set("from-layer", same.get(source, source))


def _axis(node: onnx.NodeProto) -> int | None:
    """Return the axis of the output channels in a product's weight; None if it is no product."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "MatMul":
        return -1
    if node.op_type == "Gemm":
        flipped = any(part.name == "transB" and part.i for part in node.attribute)
        return 0 if flipped else 1
    return None


def _packed(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return whole numbers and the scales that multiply them, of a shape to broadcast."""
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(MOST)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    return np.round(values / scale).astype(np.int8), scale
