"""How far a quantized network falls behind FP32 at what it is for: finding designs again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.data import Scheme
from distill.ranks import Flip, flips, interval, mean_over, nearest, rank
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.encoder import Encoder
from edge_retrieval.errors import EvaluationError
from edge_retrieval.metrics import overlap_at_k
from edge_retrieval.speed import speed_ratio

NEIGHBOURS = 10
LEAST_FIGURES = 12
"""Fewer have no ten neighbours that could differ."""
BATCH = 32  # figures embedded at once

Interval = tuple[float, float]
"""Least and most, NaN where that cannot be told."""


@dataclass(frozen=True)
class Quality:
    """How a network retrieves, against FP32 on the same figures.

    Each figure searches all the others of its label tree for mAP, and all others for overlap. mAP
    is a mean over the queries that have something to find, then over the label trees; NaN where
    there is nothing to find.

    Attributes:
        figures: How many there are.
        queries: Those with another figure of their design: patent mAP is over them.
        designs: Of these queries.
        hits: Queries whose first figure was of their own design with FP32.
        patent_map: mAP at design level.
        subclass_map: mAP at the level above, without the figures of the query's own design.
        patent_drop: Patent mAP of FP32 minus this one; below 0 if this one is better.
        subclass_drop: The same for subclass mAP.
        patent_interval: 95 % interval of `patent_drop`: paired bootstrap over designs. Of a few
            designs it is too narrow.
        subclass_interval: The same for subclass mAP.
        overlap: Share of the ten nearest figures of FP32 that are found (overlap@10).
        mean_cosine: Between the two embeddings of a figure.
        p1_cosine: The same of the worst hundredth.
        least_cosine: The same of the worst figure.
        flips: Lost ones first; of each kind those that moved furthest first.
        narrow: Margin (see `Flip`) below which lies a quarter of the queries, with FP32 and
            whatever its sign: those were close calls to begin with. NaN if it is not known.
    """

    figures: int
    queries: int
    designs: int
    hits: int
    patent_map: float
    subclass_map: float
    patent_drop: float
    subclass_drop: float
    patent_interval: Interval
    subclass_interval: Interval
    overlap: float
    mean_cosine: float
    p1_cosine: float
    least_cosine: float
    flips: tuple[Flip, ...]
    narrow: float = math.nan

    @property
    def lost(self) -> int:
        """Queries that only FP32 answers right at rank 1."""
        return sum(flip.lost for flip in self.flips)

    @property
    def gained(self) -> int:
        """Queries that only this network answers right at rank 1."""
        return len(self.flips) - self.lost

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them: None for NaN; flips are counted."""
        told = {name: value for name, value in vars(self).items() if name != "flips"}
        told |= {"lost": self.lost, "gained": self.gained}
        return {name: _plain(value) for name, value in told.items()}


class Gate:
    """Figures on which networks are compared with FP32."""

    def __init__(self, images: Images, schemes: Sequence[Scheme], reference: Embeddings) -> None:
        """Rank the figures with FP32.

        Args:
            images: ``(N, C, H, W)`` float32, N >= 12; none should have calibrated.
            schemes: Label trees; their rows are those of `images`. Figures in none of them count
                for the overlap only.
            reference: ``(N, D)`` of FP32, rows of length 1.

        Raises:
            EvaluationError: Fewer than 12 figures.
        """
        if len(images) < LEAST_FIGURES:
            raise EvaluationError(
                f"{len(images)} drawings cannot show how two networks differ",
                hint=f"compare {LEAST_FIGURES} or more",
            )
        self.images, self.schemes = images, tuple(schemes)
        self._reference = _checked(reference, (len(images), reference.shape[-1]))
        self._near = nearest(reference, NEIGHBOURS)  # (N, K)
        self._before = [rank(reference, scheme) for scheme in self.schemes]
        margins = np.abs(np.concatenate([[np.nan], *(one.margin for one in self._before)]))
        known = margins[~np.isnan(margins)]
        self._narrow = float(np.percentile(known, 25.0)) if len(known) else math.nan

    def measure(self, encoder: Encoder) -> Quality:
        """Embed the figures and compare them with FP32.

        Raises:
            BundleError: The encoder cannot run.
            EvaluationError: It gives other shapes than FP32, or numbers that are not finite.
        """
        parts = np.array_split(self.images, math.ceil(len(self.images) / BATCH))
        return self.compare(np.concatenate([encoder.embed(part) for part in parts]))

    def compare(self, embeddings: Embeddings) -> Quality:
        """Compare ``(N, D)`` rows of length 1, of the same figures, with FP32; see `measure`."""
        embeddings = _checked(embeddings, self._reference.shape)
        after = [rank(embeddings, scheme) for scheme in self.schemes]
        pairs = list(zip(self._before, after, strict=True))
        designs = [one.design for one in self._before]
        patent = [one.patent - two.patent for one, two in pairs]
        subclass = [one.subclass - two.subclass for one, two in pairs]
        cosine = (embeddings * self._reference).sum(axis=1)  # (N,)
        return Quality(
            figures=len(self.images),
            queries=sum(int((one.right > 0).sum()) for one in self._before),
            designs=sum(len(np.unique(one.design[one.right > 0])) for one in self._before),
            hits=sum(int((one.right == 1).sum()) for one in self._before),
            patent_map=mean_over([one.patent for one in after]),
            subclass_map=mean_over([one.subclass for one in after]),
            patent_drop=mean_over(patent),
            subclass_drop=mean_over(subclass),
            patent_interval=interval(patent, designs),
            subclass_interval=interval(subclass, designs),
            overlap=float(
                overlap_at_k(nearest(embeddings, NEIGHBOURS), self._near, NEIGHBOURS).mean()
            ),
            mean_cosine=float(cosine.mean()),
            p1_cosine=float(np.percentile(cosine, 1.0)),
            least_cosine=float(cosine.min()),
            flips=flips(self.schemes, self._before, after),
            narrow=self._narrow,
        )


@dataclass(frozen=True)
class Row:
    """A network in the table of an export.

    Attributes:
        name: Of the candidate.
        format: "onnx" or "openvino".
        backend: The runtime it was measured on.
        bytes: Of its files.
        quality: None if it failed.
        seconds_1: A call with one drawing, one sample a round; empty if it was not timed.
        seconds_16: A call with 16 drawings.
        fp32_seconds_1: FP32 on the same runtime, in the same rounds.
        fp32_seconds_16: The same with 16 drawings.
        fp32_bytes: Of the files of FP32 in the same format; 0 if not known.
        failed: Why there is no such network, in one line; None if there is.
    """

    name: str
    format: str
    backend: str
    bytes: int
    quality: Quality | None
    seconds_1: tuple[float, ...] = ()
    seconds_16: tuple[float, ...] = ()
    fp32_seconds_1: tuple[float, ...] = ()
    fp32_seconds_16: tuple[float, ...] = ()
    fp32_bytes: int = 0
    failed: str | None = None

    @classmethod
    def of_failure(cls, name: str, format: str, backend: str, reason: str) -> Row:
        """Return the row of a candidate that could not be made, or does not run."""
        return cls(name, format, backend, 0, None, failed=" ".join(reason.split()))

    @property
    def speedup_1(self) -> float:
        """How many times as fast as FP32 with one drawing; NaN if it was not timed."""
        return _speedup(self.fp32_seconds_1, self.seconds_1)

    @property
    def speedup_16(self) -> float:
        """How many times as fast as FP32 with 16 drawings; NaN if it was not timed."""
        return _speedup(self.fp32_seconds_16, self.seconds_16)

    def to_json(self) -> dict[str, Any]:
        """Return all samples, and what follows from them, as JSON can hold it."""
        told = dict(vars(self)) | {"quality": self.quality and self.quality.to_json()}
        told |= {"speedup_1": self.speedup_1, "speedup_16": self.speedup_16}
        return {name: _plain(value) for name, value in told.items()}


def verdict(row: Row, *, max_drop: float, min_overlap: float) -> str | None:
    """Say why a network is refused, or None if it passes.

    The drop itself decides, not its interval: that says how far to trust it.

    Args:
        row: From the gate.
        max_drop: Most that patent mAP and subclass mAP may fall, absolute; what cannot be measured
            is not refused.
        min_overlap: Least overlap@10.
    """
    if row.failed is not None or row.quality is None:
        return f"failed: {row.failed or 'not measured'}"
    quality = row.quality
    reasons = [
        f"{name} mAP falls by {drop:.3f}, more than {max_drop:.3f}{between(limits)}"
        for name, drop, limits in (
            ("patent", quality.patent_drop, quality.patent_interval),
            ("subclass", quality.subclass_drop, quality.subclass_interval),
        )
        if drop > max_drop
    ]
    if not quality.overlap >= min_overlap:
        reasons.append(f"overlap@10 is {quality.overlap:.3f}, below {min_overlap:.2f}")
    return "; ".join(reasons) or None


def between(limits: Interval) -> str:
    """Return " (95 %: -0.002 to 0.012)", or nothing where that is not known."""
    if math.isnan(limits[0]):
        return ""
    low, high = (round(limit, 3) + 0.0 for limit in limits)  # -0.0 + 0.0 is 0.0
    return f" (95 %: {low:.3f} to {high:.3f})"


def _checked(embeddings: Embeddings, shape: tuple[int, ...]) -> Embeddings:
    if embeddings.shape != shape or not np.isfinite(embeddings).all():
        raise EvaluationError(
            f"the network gives {embeddings.shape} instead of {shape}, or numbers that are not"
            " finite",
            hint="quantize it in another way",
        )
    return embeddings


def _speedup(slow: tuple[float, ...], fast: tuple[float, ...]) -> float:
    return speed_ratio(slow, fast) if slow and fast else float("nan")


def _plain(value: Any) -> Any:
    """Return a value as strict JSON can hold it: None for NaN, lists for tuples."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
