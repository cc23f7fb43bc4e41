"""NNCF's post-training quantization, on ONNX and on OpenVINO's own form; offline and silent."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from distill.onnx_file import read_onnx, save_ir
from distill.packing import in_order, pack_weights, shorten
from distill.quantize import LEAST_DRAWINGS, PRODUCTS
from edge_retrieval.arrays import Images
from edge_retrieval.encoder import INPUT, import_openvino, signal_stack_kept
from edge_retrieval.errors import BundleError, ConfigError, MissingExtraError

OPENVINO_PRODUCTS = ("Convolution", "GroupConvolution", "MatMul")


@dataclass(frozen=True)
class NncfRecipe:
    """Every choice that changes what NNCF makes.

    Attributes:
        overflow_fix: 7-bit weights: the 8-bit products saturate on processors without VNNI.
        transformer: Quantize as suits attention: its products and norms are treated apart.
        mixed: Activations with a zero point where they are not symmetric; else all symmetric.
        bias_correction: "fast" (from means), "exact" (layer by layer, slow), or "none".
        products_only: Quantize what convolutions and matrix products take, no sums and scalings.
        float_ends: Leave the first and the last convolution or matrix product in float.
        float_nodes: Names of more nodes to leave in float.
        drawings: How many drawings calibrate.
        seed: Of what NNCF draws.
    """

    overflow_fix: bool = True
    transformer: bool = False
    mixed: bool = True
    bias_correction: str = "fast"
    products_only: bool = False
    float_ends: bool = False
    float_nodes: tuple[str, ...] = ()
    drawings: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bias_correction not in ("fast", "exact", "none"):
            raise ConfigError(
                f"no bias_correction {self.bias_correction!r}",
                hint="choose from fast, exact, none",
            )
        if self.drawings < LEAST_DRAWINGS:
            raise ConfigError(
                f"{self.drawings} drawings are too few to calibrate",
                hint=f"use {LEAST_DRAWINGS} or more",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return asdict(self)


def nncf_onnx(source: Path, target: Path, images: Images, recipe: NncfRecipe) -> None:
    """Write the INT8 form of an FP32 ONNX file as QDQ ONNX.

    Args:
        source: FP32 ONNX file with the input `INPUT`.
        target: Where the INT8 file shall be.
        images: ``(N, C, H, W)`` float32 training drawings, N >= `LEAST_DRAWINGS`.
        recipe: The choices.

    Raises:
        BundleError: NNCF cannot quantize this network.
        ConfigError: Too few drawings.
        MissingExtraError: NNCF is not installed.
    """
    model = _loaded(source)
    nodes = [(node.name, node.op_type in PRODUCTS) for node in model.graph.node]
    quantized = _quantize(model, source, images, recipe, nodes)
    onnx.save(in_order(shorten(pack_weights(quantized))), target)


def nncf_openvino(
    source: Path, target: Path, images: Images, recipe: NncfRecipe, *, model: Any = None
) -> None:
    """Write the INT8 form of an FP32 ONNX file as OpenVINO's IR.

    Args:
        source: FP32 ONNX file with the input `INPUT`.
        target: The .xml file to write; the .bin stands beside it.
        images: ``(N, C, H, W)`` float32 training drawings, N >= `LEAST_DRAWINGS`.
        recipe: The choices.
        model: `source` as an ``openvino.Model``, if it has been converted already.

    Raises:
        BundleError: NNCF cannot quantize this network.
        ConfigError: Too few drawings.
        MissingExtraError: NNCF or OpenVINO is not installed.
    """
    model = read_onnx(source) if model is None else model
    nodes = [
        (layer.get_friendly_name(), layer.get_type_name() in OPENVINO_PRODUCTS)
        for layer in model.get_ordered_ops()
        if layer.get_type_name() not in ("Parameter", "Constant", "Result")
    ]
    quantized = _quantize(model, source, images, recipe, nodes)
    with _silent():
        packed = import_nncf().compress_weights(
            quantized, mode=import_nncf().CompressWeightsMode.INT8_SYM
        )
    save_ir(packed, target, fp16=True)


def _loaded(source: Path) -> onnx.ModelProto:
    try:
        return onnx.load(source)
    except Exception as error:  # protobuf's
        raise _refused(source, error) from error


def _refused(source: Path, error: Exception) -> BundleError:
    return BundleError(
        f"{source}: NNCF cannot quantize it: {' '.join(str(error).split())[:300]}",
        hint="export without --int8, or choose another architecture",
    )


def _quantize(
    model: Any,
    source: Path,
    images: Images,
    recipe: NncfRecipe,
    nodes: Sequence[tuple[str, bool]],
) -> Any:
    """Let NNCF quantize an onnx.ModelProto or an openvino.Model.

    Args:
        model: Of `source`.
        source: For errors.
        images: ``(N, C, H, W)``.
        recipe: The choices.
        nodes: Their names in the order of computation, and whether each is a product.
    """
    if len(images) < LEAST_DRAWINGS:
        raise ConfigError(
            f"{len(images)} drawings are too few to calibrate INT8",
            hint=f"give {LEAST_DRAWINGS} or more",
        )
    nncf = import_nncf()
    products = [place for place, (_, is_product) in enumerate(nodes) if is_product]
    # Behind the last product rows get their length of 1: NNCF would round that too.
    kept = {name for name, _ in nodes[products[-1] + 1 :]} | set(recipe.float_nodes)
    if recipe.products_only:
        kept |= {name for name, is_product in nodes if not is_product}
    if recipe.float_ends:
        kept |= {nodes[products[0]][0], nodes[products[-1]][0]}
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix["ENABLE" if recipe.overflow_fix else "DISABLE"],
        disable_bias_correction=recipe.bias_correction == "none",
    )
    drawings = nncf.Dataset([{INPUT: image[None]} for image in images])
    try:
        with _silent(), _seeded(recipe.seed):
            return nncf.quantize(
                model,
                drawings,
                preset=nncf.QuantizationPreset["MIXED" if recipe.mixed else "PERFORMANCE"],
                subset_size=len(images),
                fast_bias_correction=recipe.bias_correction != "exact",
                model_type=nncf.ModelType.TRANSFORMER if recipe.transformer else None,
                ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
                advanced_parameters=advanced,
            )
    except Exception as error:  # its errors share no base
        raise _refused(source, error) from error


def import_nncf() -> Any:
    """Import NNCF without its telemetry: it reports what is quantized to a server of its maker.

    As with `import_openvino`, it meets no `openvino_telemetry` and falls back to a stub.
    """
    telemetry = "openvino_telemetry"
    import_openvino()
    hidden = "nncf" not in sys.modules
    real = sys.modules.get(telemetry)
    if hidden:
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        with _silent():
            import nncf
    except ModuleNotFoundError as error:
        if error.name != "nncf":
            raise
        raise MissingExtraError.of("NNCF", "export") from error
    finally:
        if hidden:
            del sys.modules[telemetry]
            if real is not None:
                sys.modules[telemetry] = real
    return nncf


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set the global generators, which is all that NNCF knows, and put them back."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep to itself NNCF's talk, warnings, bars on stdout, and what its Cores leave behind."""
    logger = logging.getLogger("nncf")
    before = logger.disabled
    logger.disabled = True
    try:
        with (
            signal_stack_kept(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before
