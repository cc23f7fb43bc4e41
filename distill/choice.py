"""Which of the networks that pass the gate to hand over, and why, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.gate import Quality, Row, between, verdict
from edge_retrieval.encoder import RUNTIMES
from edge_retrieval.report import human_bytes

SAME_SPEED = 0.05
"""Share of the time by which two networks may differ and still be called equally fast: another
day, another order."""
SAME_OVERLAP = 0.005
"""overlap@10 by which two networks may differ and still be called equally near to FP32."""


@dataclass(frozen=True)
class Choice:
    """What to hand over.

    Attributes:
        best: The fastest beyond the noise; else the nearest to FP32; else the smallest. None if
            nothing passes.
        pareto: Those that pass and are beaten by none in overlap, seconds and bytes at once, the
            fastest first; `best` is among them.
        why: A plain sentence.
    """

    best: Row | None
    pareto: tuple[Row, ...]
    why: str


@dataclass(frozen=True)
class Pace:
    """Seconds a drawing, or a ratio of them: the median with its 95 % interval."""

    middle: float
    low: float
    high: float

    def clearly_below(self, other: Pace) -> bool:
        """Whether this is less, beyond the noise and by more than `SAME_SPEED`."""
        return self.high < other.low and self.middle * (1 + SAME_SPEED) < other.middle


ONE = Pace(1.0, 1.0, 1.0)
NEVER = Pace(math.inf, math.inf, math.inf)


def choose(rows: Sequence[Row], *, max_drop: float, min_overlap: float) -> Choice:
    """Choose among networks, and say why in words that need no table.

    Args:
        rows: All that were tried; on one machine.
        max_drop: As `verdict`.
        min_overlap: As `verdict`.
    """
    refused = [verdict(row, max_drop=max_drop, min_overlap=min_overlap) for row in rows]
    passed = [
        _Passed(row, row.quality, pace_of(row, rows))
        for row, reason in zip(rows, refused, strict=True)
        if reason is None and row.quality is not None
    ]
    if not passed:
        return Choice(None, (), _why_none(rows, refused))
    passed.sort(key=lambda each: each.pace.middle)
    slowest = max(
        each.pace.middle for each in passed if not passed[0].pace.clearly_below(each.pace)
    )
    equal = [each for each in passed if each.pace.middle <= slowest]
    near = max(each.overlap for each in equal) - SAME_OVERLAP
    best = min((each for each in equal if each.overlap >= near), key=_smallest)
    front = [each.row for each in passed if not any(other.beats(each) for other in passed)]
    return Choice(best.row, tuple(front), _why(best, equal, passed, rows, max_drop))


def pace_of(row: Row, rows: Sequence[Row]) -> Pace:
    """Return seconds a drawing as they compare between rows that were timed one after the other.

    FP32 ran in turn with each of them. How fast a network is against it hardly depends on what
    else the machine does meanwhile, so that ratio is applied to what FP32 took over all rows of the
    format and runtime.
    """
    if not row.seconds_1:
        return NEVER
    if not row.fp32_seconds_1:
        return _median(row.seconds_1)
    kind = row.format, row.backend
    same = [other for other in rows if (other.format, other.backend) == kind]
    usual = float(np.median([second for other in same for second in other.fp32_seconds_1]))
    ratio = _against_fp32(row)
    return Pace(usual * ratio.middle, usual * ratio.low, usual * ratio.high)


@dataclass(frozen=True)
class _Passed:
    """A row that passed, with what is compared."""

    row: Row
    quality: Quality
    pace: Pace

    @property
    def overlap(self) -> float:
        return self.quality.overlap

    def beats(self, other: _Passed) -> bool:
        """Whether it is as good in overlap, seconds and bytes, and better in one of them."""
        own, its = _merits(self), _merits(other)
        return own != its and all(a <= b for a, b in zip(own, its, strict=True))


def _merits(passed: _Passed) -> tuple[float, ...]:
    """Return what is compared, less being better."""
    return -passed.overlap, passed.pace.middle, passed.row.bytes


def _smallest(passed: _Passed) -> tuple[float, ...]:
    return passed.row.bytes, -passed.overlap, passed.pace.middle


def _against_fp32(row: Row) -> Pace:
    """Return seconds over those of FP32, round by round."""
    return _median(np.asarray(row.seconds_1) / np.asarray(row.fp32_seconds_1))


def _median(samples: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Pace:
    """Return the median with its 95 % interval, from the ranks of the samples alone.

    Below it lie half of all samples, so among n of them as many as heads in n tosses: within
    1.96 standard deviations, each half the root of n.
    """
    ordered = np.sort(np.asarray(samples, np.float64))  # (n,)
    n = len(ordered)
    reach = 0.98 * math.sqrt(n)
    low, high = math.floor(n / 2 - reach), math.ceil(n / 2 + reach)
    limits = ordered[max(low, 0)], ordered[min(high, n - 1)]
    return Pace(float(np.median(ordered)), float(limits[0]), float(limits[1]))


def _why(
    best: _Passed,
    equal: Sequence[_Passed],
    passed: Sequence[_Passed],
    rows: Sequence[Row],
    max_drop: float,
) -> str:
    parts = [
        _gain(best.row, rows),
        _kept(best.quality, max_drop),
        _compared(best, equal, passed, rows),
    ]
    return "; ".join(part for part in parts if part)


def _gain(row: Row, rows: Sequence[Row]) -> str:
    """Say what the user gets: speed, or size only."""
    name, small = _name(row, rows), human_bytes(row.bytes)
    size = f"{human_bytes(row.fp32_bytes)} to {small}" if row.fp32_bytes else f"a file of {small}"
    if not (row.seconds_1 and row.fp32_seconds_1):
        return f"{name}: {size}, not timed"
    # Only the ratio: on a busy machine the medians of both may well say something else.
    ratio = f"{row.speedup_1:.2f}x"
    if _against_fp32(row).clearly_below(ONE):
        return f"{name} is {ratio} as fast as FP32 here, {size}"
    return (
        f"INT8 is not faster here ({ratio}): {name} buys size, {size};"
        " --backend auto measures which runtime is fastest"
    )


def _kept(quality: Quality, max_drop: float) -> str:
    """Say what it costs, and how far to trust that."""
    near = f"overlap@10 {quality.overlap:.3f}"
    if math.isnan(quality.patent_drop):
        return f"{near}; no design has two figures here, so mAP says nothing"
    drop = round(quality.patent_drop, 3)
    moves = f"falls by {drop:.3f}" if drop > 0 else f"rises by {-drop:.3f}" if drop else "stays"
    low, high = quality.patent_interval
    # The interval in the sense of the word before it.
    told = f"patent mAP {moves}{between((-high, -low) if drop < 0 else (low, high))}, {near}"
    if quality.patent_interval[1] > max_drop:
        told += f"; {quality.designs} designs are too few to rule out a fall above {max_drop:g}"
    return told


def _compared(
    best: _Passed, equal: Sequence[_Passed], passed: Sequence[_Passed], rows: Sequence[Row]
) -> str:
    """Say why it is this one and not another."""
    if len(rows) == 1:
        return ""
    if len(passed) == 1:
        return f"the only one of {len(rows)} that passes"
    others = [each for each in equal if each is not best]
    if not others:
        return f"the fastest of {len(passed)} that pass"
    other = others[0]
    name = _name(other.row, rows)
    if best.overlap > other.overlap + SAME_OVERLAP:
        return (
            f"as fast as {name} within the noise, and nearer to FP32"
            f" ({best.overlap:.3f}, not {other.overlap:.3f})"
        )
    if best.row.bytes < other.row.bytes:
        return (
            f"as fast and as near to FP32 as {name}, and smaller (not"
            f" {human_bytes(other.row.bytes)})"
        )
    return f"as good as {name}: nothing sets them apart beyond the noise"


def _why_none(rows: Sequence[Row], refused: Sequence[str | None]) -> str:
    told = [
        (row, reason)
        for row, reason in zip(rows, refused, strict=True)
        if row.quality is not None and row.failed is None
    ]
    if told:
        row, reason = max(told, key=lambda pair: pair[0].quality.overlap if pair[0].quality else 0)
        return (
            f"no INT8 passes: of {len(rows)} tried {_name(row, rows)} is the nearest, but {reason}"
        )
    if not rows:
        return "no INT8 was tried"
    return f"no INT8 could be made: {_name(rows[0], rows)} {refused[0]}"


def _name(row: Row, rows: Sequence[Row]) -> str:
    """Return a name that tells a row from the others."""
    same = [other for other in rows if other.name == row.name]
    if len({(other.format, other.backend) for other in same}) == 1:
        return row.name
    return f"{row.name} on {RUNTIMES[row.backend]}"
