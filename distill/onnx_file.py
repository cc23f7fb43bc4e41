"""A trained network as a file: FP32 ONNX, the same with FP16 weights, and OpenVINO's own IR."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from torch import nn

from distill.packing import pack_ir
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.encoder import INPUT, OUTPUT, import_openvino, openvino_core
from edge_retrieval.errors import BundleError

PARITY_BATCHES = (1, 2, 5)
MOST_ERROR = 1e-4
MOST_ERROR_FP16 = 0.02  # rows have length 1: that is a cosine of 0.9998
LEAST_NUMBERS = 64  # smaller tensors save nothing and may be scales that FP16 cannot hold
MOST_FP16 = 65504.0


class _OfLengthOne(nn.Module):
    """A network whose rows have length 1, whether or not it makes them so itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Turn ``(N, C, H, W)`` into ``(N, D)`` rows of length 1."""
        return nn.functional.normalize(self.model(images), dim=-1)


def export_fp32(model: nn.Module, *, size: int, channels: int, dim: int, path: Path) -> float:
    """Write a network as one ONNX file, L2 norm inside, and prove that it computes the same.

    Args:
        model: ``(N, channels, size, size)`` float32 -> ``(N, dim)``. Left in eval mode.
        size: Side of the images in pixels.
        channels: Of the images.
        dim: Of the embeddings.
        path: The file to write; its folder exists.

    Returns:
        The largest absolute difference between torch and onnxruntime, over batches of 1, 2 and 5.

    Raises:
        BundleError: The network cannot be exported, or differs by more than `MOST_ERROR`.
    """
    network = _OfLengthOne(model).eval()
    example = torch.zeros(2, channels, size, size)  # 1 would be taken for a constant
    with warnings.catch_warnings():
        # torch's exporter uses what torch itself calls deprecated
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        try:
            torch.onnx.export(
                network,
                (example,),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # its errors share no base
            raise BundleError(
                f"torch cannot export {type(model).__name__}: {' '.join(str(error).split())[:250]}",
                hint="choose another architecture",
            ) from error
    _strip(path)
    worst = parity(network, path, size=size, channels=channels, dim=dim)
    if not worst <= MOST_ERROR:
        raise BundleError(
            f"{path}: differs from torch by {worst:.2g}, more than {MOST_ERROR:.0e}",
            hint="choose another architecture, or upgrade torch and onnxruntime",
        )
    return worst


def parity(network: nn.Module, path: Path, *, size: int, channels: int, dim: int) -> float:
    """Return the largest absolute difference between a network and its ONNX file, seed 0."""

    def expected(images: Images) -> Embeddings:
        with torch.inference_mode():
            rows: Embeddings = network(torch.from_numpy(images)).numpy()
        return rows

    worst = 0.0
    run = _onnxruntime(path)
    for images in _noise(channels, size):
        found = run(images)
        if found.shape != (len(images), dim):
            raise BundleError(
                f"{path}: gives {found.shape} for {len(images)} drawings, "
                f"not ({len(images)}, {dim})",
                hint="give the dimension that the network has",
            )
        worst = max(worst, float(np.abs(found - expected(images)).max()))
    return worst


def _strip(path: Path) -> None:
    """Remove what the exporter notes of each node: source lines and the paths of this machine."""
    model = onnx.load(path)
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, graph, model):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    onnx.save(model, path)


def to_fp16(source: Path, target: Path) -> float:
    """Write an FP32 ONNX file with its weights stored as FP16: half the size.

    A Cast gives each back in FP32 when the file is loaded, so every runtime computes as before.

    Args:
        source: FP32 ONNX file with the input `INPUT`.
        target: The file to write; its folder exists.

    Returns:
        The largest absolute difference between the two, over batches of 1, 2 and 5.

    Raises:
        BundleError: They differ by more than `MOST_ERROR_FP16`.
    """
    model = onnx.load(source)
    casts = [
        onnx.helper.make_node("Cast", [f"{name}_fp16"], [name], to=onnx.TensorProto.FLOAT)
        for name in (_halve(tensor) for tensor in model.graph.initializer)
        if name
    ]
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target)
    return _near(_onnxruntime(source), _onnxruntime(target), source, target, MOST_ERROR_FP16)


def _halve(tensor: onnx.TensorProto) -> str:
    """Turn a tensor to FP16 in place and return the name it had; "" if it is left as it is."""
    name: str = tensor.name
    if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_NUMBERS:
        return ""
    values = onnx.numpy_helper.to_array(tensor)
    if np.abs(values).max() > MOST_FP16:
        return ""
    tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
    return name


def to_openvino(source: Path, target: Path, *, fp16: bool = False) -> float:
    """Write an ONNX file as OpenVINO's IR: TARGET.xml, and the weights beside it as TARGET.bin.

    Args:
        source: ONNX file with the input `INPUT`, FP32 or quantized.
        target: The .xml file to write; its folder exists.
        fp16: Store the weights that are FP32 as FP16.

    Returns:
        The largest absolute difference between the ONNX file on onnxruntime and the IR on
        OpenVINO, over batches of 1, 2 and 5 random images.

    Raises:
        BundleError: OpenVINO cannot convert the file; or the source is FP32 and the two differ by
            more than `MOST_ERROR`, or `MOST_ERROR_FP16` with `fp16`. How near a quantized network
            is on another runtime is for the gate to judge.
        MissingExtraError: OpenVINO is not installed.
    """
    model = read_onnx(source)
    judged = not is_quantized(source)
    save_ir(model, target, fp16=fp16)
    limit = (MOST_ERROR_FP16 if fp16 else MOST_ERROR) if judged else float("inf")
    return _near(_onnxruntime(source), _openvino(target), source, target, limit)


def read_onnx(source: Path) -> Any:
    """Return an ONNX file as an ``openvino.Model``.

    Raises:
        BundleError: OpenVINO cannot convert the file.
        MissingExtraError: OpenVINO is not installed.
    """
    openvino = import_openvino()
    try:
        onnx.load(source)  # what this refuses OpenVINO takes for another format, and prints
        return openvino.convert_model(str(source))
    except Exception as error:  # theirs share no base with those of protobuf
        raise BundleError(
            f"{source}: OpenVINO cannot convert it: {' '.join(str(error).split())[:300]}",
            hint="export with --format onnx, or upgrade openvino",
        ) from error


def is_quantized(path: Path) -> bool:
    """Tell whether an ONNX file computes with activations of 8 bits."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return any(node.op_type == "QuantizeLinear" for node in nodes)


def save_ir(model: Any, target: Path, *, fp16: bool) -> None:
    """Write a model of OpenVINO's so that equal models give equal bytes, and few of them.

    Args:
        model: An ``openvino.Model``.
        target: The .xml file to write; the .bin stands beside it.
        fp16: Store the weights that are FP32 as FP16.
    """
    import_openvino().save_model(model, str(target), compress_to_fp16=fp16)
    pack_ir(target)


Run: TypeAlias = Callable[[Images], Embeddings]


def _near(first: Run, second: Run, source: Path, target: Path, limit: float) -> float:
    """Return the largest difference of two networks; `BundleError` if it is beyond the limit."""
    shape = onnx.load(source, load_external_data=False).graph.input[0].type.tensor_type.shape
    channels, size = shape.dim[1].dim_value, shape.dim[2].dim_value
    worst = max(float(np.abs(first(i) - second(i)).max()) for i in _noise(channels, size))
    if not worst <= limit:
        raise BundleError(
            f"{target}: differs from the FP32 ONNX file by {worst:.2g}, more than {limit:.0e}",
            hint="export FP32 as ONNX, or upgrade onnxruntime and openvino",
        )
    return worst


def _noise(channels: int, size: int) -> Iterator[Images]:
    """Yield random images in each of `PARITY_BATCHES`."""
    rng = np.random.default_rng(0)
    for count in PARITY_BATCHES:
        yield rng.uniform(-1.0, 1.0, (count, channels, size, size)).astype(np.float32)


def runner(path: Path) -> Run:
    """Return what runs an .onnx file on onnxruntime, an .xml file on OpenVINO."""
    return _openvino(path) if path.suffix == ".xml" else _onnxruntime(path)


def _onnxruntime(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Images) -> Embeddings:
        [rows] = session.run([OUTPUT], {INPUT: images})
        return np.asarray(rows, np.float32)

    return run


def _openvino(path: Path) -> Run:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    core = openvino_core()
    request = core.compile_model(core.read_model(str(path)), "CPU", settings).create_infer_request()

    def run(images: Images) -> Embeddings:
        return np.array(request.infer({INPUT: images})[OUTPUT], np.float32)

    return run
