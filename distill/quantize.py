"""FP32 ONNX to INT8 ONNX: static quantization, calibrated on training drawings."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from distill.packing import in_order, pack_weights, shorten
from distill.ranges import METHODS, Histograms
from edge_retrieval.arrays import Images
from edge_retrieval.errors import BundleError, ConfigError

LEAST_DRAWINGS = 100
ENOUGH_DRAWINGS = 300
PRODUCTS = ("Conv", "Gemm", "MatMul")
KINDS = {"u8": "QUInt8", "s8": "QInt8"}


@dataclass(frozen=True)
class Recipe:
    """Every choice that changes the INT8 network.

    Attributes:
        calibration: How the range of each activation is found; a name in `ranges.METHODS`.
        percentile: Share of the values, in percent, that the range of "percentile" holds.
        per_channel: One scale for each output channel of a weight, not one for all.
        reduce_range: 7-bit weights: the 8-bit products saturate on processors without VNNI.
        activations: "u8" or "s8": unsigned with a zero point, or signed and symmetric.
        weights: "s8" or "u8".
        operators: ONNX operators to quantize; () for all that onnxruntime can.
        float_outputs: Of these, the ones whose results are not rounded to 8 bits.
        float_bias: Leave what products add in float: OpenVINO wants it so, onnxruntime would then
            compute the whole layer in float.
        attention: Quantize products of two activations as well, not only those with a weight.
        float_ends: Leave the first and the last convolution or matrix product in float.
        float_pooled: Leave the convolutions of one pixel in float: squeeze-and-excite, and what
            follows the pooling. They cost next to no time.
        float_nodes: Names of more nodes to leave in float.
        drawings: How many drawings calibrate.
        seed: Chooses them.
    """

    # What hurts most is the first and the last layer, and sums and scalings between the products;
    # which recipe suits which family of networks best is `candidates.ORDER`.
    calibration: str = "percentile"
    percentile: float = 99.99
    per_channel: bool = True
    reduce_range: bool = True
    activations: str = "u8"
    weights: str = "s8"
    operators: tuple[str, ...] = PRODUCTS
    float_outputs: tuple[str, ...] = ()
    float_bias: bool = False
    attention: bool = True
    float_ends: bool = True
    float_pooled: bool = False
    float_nodes: tuple[str, ...] = ()
    drawings: int = ENOUGH_DRAWINGS
    seed: int = 0

    def __post_init__(self) -> None:
        for setting, value, allowed in (
            ("calibration", self.calibration, METHODS),
            ("activations", self.activations, tuple(KINDS)),
            ("weights", self.weights, tuple(KINDS)),
        ):
            if value not in allowed:
                raise ConfigError(
                    f"no {setting} {value!r}", hint=f"choose from {', '.join(allowed)}"
                )
        if not 50.0 < self.percentile <= 100.0:
            raise ConfigError(
                f"percentile {self.percentile} holds no range", hint="choose above 50, at most 100"
            )
        if self.drawings < LEAST_DRAWINGS:
            raise ConfigError(
                f"{self.drawings} drawings are too few to calibrate",
                hint=f"use {LEAST_DRAWINGS} or more",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return asdict(self)


def choose_calibration(labels: NDArray[np.int32], recipe: Recipe) -> NDArray[np.int64]:
    """Choose training drawings that show every class as evenly as they allow.

    Args:
        labels: ``(N,)`` code of each drawing's class.
        recipe: How many, and the seed.

    Returns:
        Row numbers, ascending: `recipe.drawings` of them, or all if there are fewer.

    Raises:
        ConfigError: There are fewer than `LEAST_DRAWINGS`.
    """
    if len(labels) < LEAST_DRAWINGS:
        raise ConfigError(
            f"{len(labels)} training drawings are too few to calibrate INT8",
            hint=f"train on {LEAST_DRAWINGS} or more, or export without --int8",
        )
    rng = np.random.default_rng(recipe.seed)
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)  # a drawing's place in the queue of its class
    for label in np.unique(labels):
        queue = order[labels[order] == label]
        turn[queue] = np.arange(len(queue))
    rows = order[np.argsort(turn[order], kind="stable")][: recipe.drawings]
    return np.sort(rows)


def warn_of_few(drawings: int) -> str | None:
    """Return a line of warning if so few drawings calibrate; None if they are enough."""
    if drawings >= ENOUGH_DRAWINGS:
        return None
    return (
        f"only {drawings} drawings calibrate INT8: "
        f"{ENOUGH_DRAWINGS} or more are surer to keep it near FP32"
    )


def quantize_int8(
    source: Path,
    target: Path,
    images: Images,
    recipe: Recipe,
    *,
    histograms: Histograms | None = None,
) -> None:
    """Write the INT8 form of an FP32 ONNX network, as QDQ.

    Layers that are left in float have their weights stored in 8 bits nevertheless: that costs next
    to no accuracy and no time, and the file is a quarter of FP32 whatever stays in float.

    Args:
        source: FP32 ONNX file with the input `INPUT`.
        target: Where the INT8 file shall be.
        images: ``(N, C, H, W)`` float32 training drawings, N >= `LEAST_DRAWINGS`.
        recipe: The choices.
        histograms: Of `source` on `images`, if another recipe has collected some already.

    Raises:
        ConfigError: Too few drawings.
        BundleError: onnxruntime cannot quantize this network.
    """
    if len(images) < LEAST_DRAWINGS:
        raise ConfigError(
            f"{len(images)} drawings are too few to calibrate INT8",
            hint=f"give {LEAST_DRAWINGS} or more",
        )
    try:
        with _quiet():
            model = _quantized(onnx.load(source), histograms or Histograms(source, images), recipe)
        onnx.save(in_order(shorten(pack_weights(model))), target)
    except Exception as error:  # onnxruntime's errors share no base and are not documented
        raise BundleError(
            f"{source}: onnxruntime cannot quantize it: {' '.join(str(error).split())[:300]}",
            hint="export without --int8, or choose another architecture",
        ) from error


def _quantized(model: onnx.ModelProto, histograms: Histograms, recipe: Recipe) -> onnx.ModelProto:
    """Let onnxruntime insert what quantizes, with the ranges found here."""
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    operators = list(recipe.operators) or sorted({*QDQRegistry, *QLinearOpsRegistry})
    # onnxruntime's own `quant_pre_process` fails on what torch's exporter writes, and has nothing
    # left to do there: normalisation is folded, shapes are inferred. Its mark says just that.
    onnx.helper.set_model_props(model, {"onnx.infer": "onnxruntime.quant"})
    left = _left_in_float(model, recipe)
    found = histograms.ranges(
        _activations(model, operators, left), recipe.calibration, recipe.percentile
    )
    ranges = {name: tuple(np.float32(end) for end in ends) for name, ends in found.items()}
    quantizer = QDQQuantizer(
        model,
        recipe.per_channel,
        recipe.reduce_range,
        QuantType[KINDS[recipe.weights]],
        QuantType[KINDS[recipe.activations]],
        TensorsData(CalibrationMethod.MinMax, ranges),
        [],
        left,
        operators,
        {
            "ActivationSymmetric": recipe.activations == "s8",
            "QuantizeBias": not recipe.float_bias,
            "OpTypesToExcludeOutputQuantization": list(recipe.float_outputs),
        },
    )
    quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def _activations(model: onnx.ModelProto, operators: Sequence[str], left: Sequence[str]) -> set[str]:
    """Return the FP32 activations that nodes of these kinds take or give, but for those left."""
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    floats = {v.name for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = (n for n in model.graph.node if n.op_type in operators and n.name not in left)
    return {name for node in nodes for name in (*node.input, *node.output)} & floats - weights


def _left_in_float(model: onnx.ModelProto, recipe: Recipe) -> list[str]:
    """Return the names of the nodes that the recipe does not quantize."""
    weights = {tensor.name for tensor in model.graph.initializer}
    pixels = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim[2:]]
        for value in model.graph.value_info
    }
    products = [node for node in model.graph.node if node.op_type in PRODUCTS]
    found = list(recipe.float_nodes)
    if recipe.float_ends:
        found += [node.name for node in (*products[:1], *products[-1:])]
    if recipe.float_pooled:
        pooled = (n for n in products if n.op_type == "Conv" and pixels.get(n.input[0]) == [1, 1])
        found += [node.name for node in pooled]
    found += [
        node.name for node in model.graph.node if node.op_type == "Clip" and _guards(node, model)
    ]
    if not recipe.attention:
        found += [node.name for node in products if not weights & set(node.input)]
    return found


def _guards(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Tell whether a Clip keeps a divisor from 0, to which 8 bits would round its least value."""
    least = [t for t in model.graph.initializer if t.name == "".join(node.input[1:2])]
    return not least or bool((onnx.numpy_helper.to_array(least[0]) != 0).any())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's prints and its talk through the root logger to itself."""
    root = logging.getLogger()
    # A handler, since logging.warning() installs one for good where it finds none.
    handler = logging.NullHandler()

    def is_ours(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname

    root.addHandler(handler)
    root.addFilter(is_ours)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeFilter(is_ours)
        root.removeHandler(handler)
