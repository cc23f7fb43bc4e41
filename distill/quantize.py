"""FP32 ONNX to INT8 ONNX: static quantization, calibrated on training drawings."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_retrieval.arrays import Images
from edge_retrieval.encoder import INPUT, Encoder
from edge_retrieval.errors import BundleError, ConfigError, EvaluationError

LEAST_DRAWINGS = 100
CHUNK = 8  # drawings whose intermediate results are held at once: about 50 MB at 128 px
PRODUCTS = ("Conv", "Gemm", "MatMul")
METHODS = {"percentile": "Percentile", "entropy": "Entropy", "min-max": "MinMax"}


@dataclass(frozen=True)
class Recipe:
    """Every choice that changes the INT8 network.

    Attributes:
        calibration: How the range of each activation is found; a name in `METHODS`.
        percentile: Share of the values, in percent, that the range of "percentile" holds.
        per_channel: One scale for each output channel of a weight, not one for all.
        reduce_range: 7-bit weights: the 8-bit products saturate on processors without VNNI.
        operators: ONNX operators to quantize; () for all that onnxruntime can.
        float_ends: Leave the first and the last convolution or matrix product in float.
        drawings: How many drawings calibrate.
        seed: Chooses them.
    """

    # The default was the best of seven on the shipped network (benchmarks/recipes.py): what hurts
    # is the first and the last layer, and sums and scalings between the products.
    calibration: str = "percentile"
    percentile: float = 99.99
    per_channel: bool = True
    reduce_range: bool = True
    operators: tuple[str, ...] = ("Conv", "Gemm", "MatMul")
    float_ends: bool = True
    drawings: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        if self.calibration not in METHODS:
            raise ConfigError(
                f"no calibration {self.calibration!r}", hint=f"choose from {', '.join(METHODS)}"
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


@dataclass(frozen=True)
class Agreement:
    """How near the embeddings of two encoders are, on the same drawings.

    Attributes:
        figures: How many were compared; each is also searched among the others.
        mean_cosine: Mean cosine.
        p1_cosine: Cosine of the worst hundredth.
        least_cosine: Cosine of the worst figure.
        overlap: Share of the ten nearest figures that both find (overlap@10); 1 is best.
    """

    figures: int
    mean_cosine: float
    p1_cosine: float
    least_cosine: float
    overlap: float

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them."""
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


def quantize_int8(source: Path, target: Path, images: Images, recipe: Recipe) -> None:
    """Write the INT8 form of an FP32 ONNX network: unsigned activations, signed weights, QDQ.

    Args:
        source: FP32 ONNX file with the input `INPUT`.
        target: Where the INT8 file shall be.
        images: ``(N, C, H, W)`` float32 training drawings, N >= `LEAST_DRAWINGS`.
        recipe: The choices.

    Raises:
        ConfigError: Too few drawings.
        BundleError: onnxruntime cannot quantize this network.
    """
    if len(images) < LEAST_DRAWINGS:
        raise ConfigError(
            f"{len(images)} drawings are too few to calibrate INT8",
            hint=f"give {LEAST_DRAWINGS} or more",
        )
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        try:
            excluded = _prepare(source, prepared, recipe)
            quantize_static(
                prepared,
                target,
                _Drawings(images),
                quant_format=QuantFormat.QDQ,
                per_channel=recipe.per_channel,
                reduce_range=recipe.reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[METHODS[recipe.calibration]],
                op_types_to_quantize=list(recipe.operators) or None,
                nodes_to_exclude=excluded,
                extra_options={
                    "CalibStridedMinMax": 1,
                    "CalibPercentile": recipe.percentile,
                    # Else percentile spends half of the range on values that ReLU never gives.
                    "CalibTensorRangeSymmetric": False,
                },
            )
        except Exception as error:  # its errors share no base and are not documented
            raise BundleError(
                f"{source}: onnxruntime cannot quantize it: {' '.join(str(error).split())[:300]}",
                hint="export without --int8, or choose another architecture",
            ) from error


def agreement(fp32: Encoder, int8: Encoder, images: Images) -> Agreement:
    """Compare two encoders on the same drawings, none of which should have calibrated.

    Args:
        fp32: The reference.
        int8: The other.
        images: ``(N, C, H, W)`` float32, N >= 12.

    Raises:
        EvaluationError: Too few drawings to have ten neighbours each.
    """
    if len(images) < 12:
        raise EvaluationError(
            f"{len(images)} drawings cannot show an agreement", hint="compare 12 or more"
        )
    first, second = _embed(fp32, images), _embed(int8, images)  # (N, D) each
    cosine = (first * second).sum(axis=1)  # (N,)
    near, found = _nearest(first, 10), _nearest(second, 10)  # (N, 10) each
    shared = (near[:, :, None] == found[:, None, :]).any(axis=2)  # (N, 10)
    return Agreement(
        figures=len(images),
        mean_cosine=float(cosine.mean()),
        p1_cosine=float(np.percentile(cosine, 1.0)),
        least_cosine=float(cosine.min()),
        overlap=float(shared.mean()),
    )


def _embed(encoder: Encoder, images: Images) -> NDArray[np.float32]:
    pieces = [encoder.embed(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]
    return np.concatenate(pieces)


def _nearest(embeddings: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the rows nearest to each row, itself left out; ties to the smaller row."""
    similarity = embeddings @ embeddings.T  # (N, N)
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


class _Drawings:
    """Calibration drawings as onnxruntime reads them: `set_range` names one chunk at a time.

    Without ranges it would hold every intermediate result of every drawing: gigabytes.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._chunk: Images | None = None

    def __len__(self) -> int:
        return -(-len(self._images) // CHUNK)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give the chunks from `start_index` up to `end_index` from now on."""
        self._chunk = self._images[start_index * CHUNK : end_index * CHUNK]

    def get_next(self) -> dict[str, Images] | None:
        """Give the chunk once, then None."""
        chunk, self._chunk = self._chunk, None
        return None if chunk is None else {INPUT: chunk}


def _prepare(source: Path, target: Path, recipe: Recipe) -> list[str]:
    """Write the network as the quantizer wants it, and name the nodes it must leave in float.

    onnxruntime's own `quant_pre_process` fails on what torch's exporter writes, and has nothing
    left to do there: normalisation is folded, shapes are inferred. Its mark says just that.
    """
    model = onnx.load(source)
    onnx.helper.set_model_props(model, {"onnx.infer": "onnxruntime.quant"})
    onnx.save(model, target)
    products = [node.name for node in model.graph.node if node.op_type in PRODUCTS]
    return [*products[:1], *products[-1:]] if recipe.float_ends else []


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
