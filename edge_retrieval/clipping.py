"""Where a quantized ONNX file loses values: numbers that do not fit the 8-bit range of their layer.

The file is read as bytes, since a device has no `onnx`: of the protocol buffer only the names that
nodes give and take are looked at. Layers are shown by naming them as outputs, which takes a few
bytes at the end of the file: where a message appears twice, its lists are joined.
https://protobuf.dev/programming-guides/encoding, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Images
from edge_retrieval.errors import BundleError

GRAPH, NODE, OUTPUT, NAME = 7, 1, 12, 1
"""Field numbers: of a graph in its model, nodes and outputs in a graph, the name of an output."""

NODE_INPUT, NODE_OUTPUT, NODE_KIND = 1, 2, 4
BYTES = 2
FIXED = {1: 8, 5: 4}
"""How the content of a field is written: with its length before it, or as so many bytes."""

SLACK = 0.01
"""A value beyond the range by more than this share of it is lost; rounding is far below."""

SIX = 6.0
LEAST_SHARE = 0.02
"""A layer that loses fewer of its values is as calibration wants it: rare ones are given up."""


class Clipped(NamedTuple):
    """One layer that loses values.

    Attributes:
        name: Of what is quantized there.
        share: Of its values do not fit, above 0, at most 1.
    """

    name: str
    share: float


def clipped_layers(model: Path, images: Images) -> list[Clipped]:
    """Find the layers of a QDQ network whose 8-bit ranges are too narrow for these drawings.

    Args:
        model: An ONNX file; one without quantized layers has none.
        images: ``(N, C, H, W)`` float32; a few are enough.

    Returns:
        Those that lose at least `LEAST_SHARE` of their values, in the order of computation: what
        comes after a layer that saturates is computed from what is left.

    Raises:
        BundleError: The file is no ONNX network.
    """
    import onnxruntime

    data = model.read_bytes()
    pairs = quantized_pairs(data)
    if not pairs:
        return []
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    shown = _with_outputs(data, sorted({name for pair in pairs for name in pair}))
    try:
        session = onnxruntime.InferenceSession(shown, options, providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_outputs()]
        [port] = session.get_inputs()
        values = dict(zip(names, session.run(names, {port.name: images}), strict=True))
    except Exception as error:  # onnxruntime's errors share no other base
        raise BundleError(
            f"{model}: its layers cannot be shown: {' '.join(str(error).split())[:200]}",
            hint="upgrade onnxruntime",
        ) from error
    shares = [(before, _lost(values[before], values[after])) for before, after in pairs]
    return [Clipped(name, share) for name, share in shares if share >= LEAST_SHARE]


def quantized_pairs(data: bytes) -> list[tuple[str, str]]:
    """Return the names of each value that is quantized, and of what it is afterwards, in order."""
    quantized: dict[str, str] = {}  # 8-bit value -> what it was
    pairs = []
    try:
        for node in _nodes(data):
            match node:
                case (b"QuantizeLinear", [before, *_], [eight, *_]):
                    quantized[eight] = before
                case (b"DequantizeLinear", [eight, *_], [after, *_]) if eight in quantized:
                    pairs.append((quantized[eight], after))
    except (IndexError, ValueError) as error:
        raise BundleError(
            "the model is no ONNX network", hint="copy the bundle again, or make it anew"
        ) from error
    return pairs


def _lost(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the share of values that lie outside of what came out."""
    low, high = float(after.min()), float(after.max())
    slack = SLACK * (high - low)
    below, above = before < low - slack, before > high + slack
    # What ends at 0 or at 6 may be a ReLU or ReLU6 that a quantizer folded into the rounding.
    folded = (low == 0, abs(high - SIX) <= SLACK * SIX)
    return float(np.mean((below & (not folded[0])) | (above & (not folded[1]))))


def _nodes(data: bytes) -> Iterator[tuple[bytes, list[str], list[str]]]:
    """Yield (kind, names taken, names given) of each node."""
    for number, graph in _fields(data):
        if number != GRAPH:
            continue
        for inner, node in _fields(graph):
            if inner != NODE:
                continue
            parts: dict[int, list[bytes]] = {}
            for field, value in _fields(node):
                parts.setdefault(field, []).append(value)
            taken, given = (
                [name.decode() for name in parts.get(field, [])]
                for field in (NODE_INPUT, NODE_OUTPUT)
            )
            yield bytes(parts.get(NODE_KIND, [b""])[-1]), taken, given


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) of a message's fields; of numbers, which we do not need, b""."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, at = _varint(message, at)
            yield number, b""
        elif kind in FIXED:
            at += FIXED[kind]
            yield number, b""
        elif kind == BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("cut short")
            yield number, message[at : at + size]
            at += size
        else:
            raise ValueError("no protocol buffer")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place behind it."""
    value = 0
    for i, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise ValueError("a number without an end")


def _with_outputs(data: bytes, names: list[str]) -> bytes:
    """Return a model that also gives the named values."""
    outputs = b"".join(_field(OUTPUT, _field(NAME, name.encode())) for name in names)
    return data + _field(GRAPH, outputs)


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
