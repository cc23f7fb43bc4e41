"""The networks that may be handed over, each on every runtime that can run it, side by side."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from distill.choice import choose
from distill.gate import Gate, Row
from distill.trials import Limits, without_place
from edge_retrieval.arrays import Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import Encoder, golden_check, load_encoder
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.speed import compare_speed

ROUNDS_1, ROUNDS_16 = 40, 8
"""Interleaved rounds of timing, one drawing at a time and 16 at once."""

Samples = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Finalist:
    """A network on one runtime.

    Attributes:
        precision: "fp32", "fp16" or "int8".
        golden: Least cosine to the golden vectors; NaN if it failed.
        row: What was measured, named after the bundle; one thread, all finalists in turn, beside
            FP32 on the runtime that runs it fastest.
    """

    precision: str
    golden: float
    row: Row

    def to_json(self) -> dict[str, Any]:
        """Return plain values; None for NaN."""
        golden = None if self.row.failed else self.golden
        return {"precision": self.precision, "golden": golden} | self.row.to_json()

    def summary(self) -> dict[str, Any]:
        """Return plain values, of the samples the medians alone: what a bundle carries."""
        told = self.to_json()
        for key in ("seconds_1", "seconds_16"):
            told[f"median_{key}"] = statistics.median(told[key]) if told[key] else None
        return {key: value for key, value in told.items() if not key.endswith(_SAMPLES)}


_SAMPLES = ("fp32_seconds_1", "fp32_seconds_16")


def measure_finalists(bundles: Sequence[Bundle], gate: Gate, images: Images) -> list[Finalist]:
    """Measure networks on every runtime that is installed and can run them.

    Args:
        bundles: Drafts, FP32 among them.
        gate: Compares neighbours with those of FP32 in torch.
        images: ``(N, C, H, W)`` to time with.
    """
    found: list[Finalist] = []
    encoders: dict[str, Encoder] = {}
    for bundle in bundles:
        for backend in runtimes_of(bundle.format):
            one = _judged(bundle, backend, gate)
            found.append(one)
            if not one.row.failed:
                encoders[_key(one)] = load_encoder(bundle, backend=backend, threads=1)
    single = compare_speed(encoders, images, batch=1, rounds=ROUNDS_1)
    many = compare_speed(encoders, images, batch=16, rounds=ROUNDS_16, warm_up=1)
    plain = [one for one in found if one.precision == "fp32" and not one.row.failed]
    # One rule for all: who is slower than FP32 on another runtime is not faster here.
    base = min(plain, key=lambda one: statistics.median(single[_key(one)]))
    return [_timed(one, base, single, many) for one in found]


def runtimes_of(format: str) -> tuple[str, ...]:
    """Return the installed runtimes that can run a format, its own first."""
    if format == "openvino":
        return ("openvino",)
    return ("onnx", "openvino") if find_spec("openvino") else ("onnx",)


def best_of(finalists: Sequence[Finalist], limits: Limits) -> tuple[Finalist, str]:
    """Choose what to use on this machine, and say why in one sentence.

    Args:
        finalists: From `measure_finalists`; FP32 among them.
        limits: What INT8 must keep; where none does, FP32 is used.
    """
    rows = [one.row for one in finalists if one.precision == "int8"]
    choice = choose(rows, max_drop=limits.max_drop, min_overlap=limits.min_overlap)
    for one in finalists:
        if one.row is choice.best:
            return one, choice.why
    plain = [one for one in finalists if one.precision == "fp32" and not one.row.failed]
    fastest = min(plain, key=lambda one: statistics.median(one.row.seconds_1))
    return fastest, choice.why if rows else "no INT8 passes the gate"


def _judged(bundle: Bundle, backend: str, gate: Gate) -> Finalist:
    try:
        encoder = load_encoder(bundle, backend=backend)
        golden, quality = golden_check(bundle, encoder), gate.measure(encoder)
    except EdgeRetrievalError as error:
        row = Row.of_failure(bundle.name, bundle.format, backend, without_place(str(error)))
        return Finalist(bundle.precision, float("nan"), row)
    row = Row(bundle.name, bundle.format, backend, bundle.model_bytes, quality)
    return Finalist(bundle.precision, golden, row)


def _timed(one: Finalist, base: Finalist, single: Samples, many: Samples) -> Finalist:
    if one.row.failed:
        return one
    row = replace(
        one.row,
        seconds_1=single[_key(one)],
        seconds_16=many[_key(one)],
        fp32_seconds_1=single[_key(base)],
        fp32_seconds_16=many[_key(base)],
        fp32_bytes=base.row.bytes,
    )
    return replace(one, row=row)


def _key(one: Finalist) -> str:
    return f"{one.row.name} {one.row.backend}"
