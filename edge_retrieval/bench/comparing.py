"""Two reports side by side: ratios of medians, and how far chance alone could have moved them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_retrieval.errors import ConfigError
from edge_retrieval.host import same_machine
from edge_retrieval.report import Label, Measurement, Report, human

RESAMPLED = 2000
"""Times that samples are drawn anew: the ends of a 95 % interval then move by a few hundredths of
its width."""

DRAWN_AT_ONCE = 1 << 20  # numbers: bounds memory

CONFIDENCE = 0.95

LEAST = 6
"""Samples from which on a median has an interval: of fewer, drawing anew finds changes that are
none (of three and three, one time in ten)."""

OF_FEW_PROCESSES = ("search_cost",)
"""Measurements with many samples of few processes: they are not as many independent ones."""

MAY_DIFFER = ("seconds", "parts", "failed", "skipped", "sample")
"""Settings that say how a bench went, not what it measured."""

UNCOMPARED = ("noise.reference", "noise.others", "temperature", "clock", "throttled")
"""What tells how a run went, not what it costs."""


@dataclass(frozen=True)
class Change:
    """One measurement in two reports: medians, and the second over the first.

    Attributes:
        name: Of the measurement.
        unit: Of both medians.
        before: Median of the first report.
        after: Median of the second.
        labels: Of the measurement.
        interval: Bootstrap interval of the ratio, 95 %; None where one of them has too few samples
            that are independent.
    """

    name: str
    unit: str
    before: float
    after: float
    labels: dict[str, Label] = field(default_factory=dict)
    interval: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """Return `after / before`; infinite from zero to something, 1 from zero to zero."""
        if self.before == 0.0:
            return 1.0 if self.after == 0.0 else math.inf
        return self.after / self.before

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 1 out: chance alone hardly makes such a change."""
        return self.interval is not None and not self.interval[0] <= 1.0 <= self.interval[1]


def compare(before: Report, after: Report, *, across: bool = False, seed: int = 0) -> list[Change]:
    """Put the medians of what both reports measured side by side, in the order of `before`.

    Args:
        before: The ratio's lower part.
        after: Its upper part.
        across: Compare different machines, too.
        seed: Of the intervals.

    Raises:
        ConfigError: They are of different machines and `across` is not set, a measurement has two
            units, or nothing is in both.
    """
    if not across:
        require_one_machine(before, after)
    later = {measurement.key: measurement for measurement in after.measurements}
    changes = []
    for old in before.measurements:
        if (new := later.get(old.key)) is None or old.name in UNCOMPARED:
            continue
        if new.unit != old.unit:
            raise ConfigError(
                f"{old.title}: {old.unit} in one report, {new.unit} in the other",
                hint="measure both with one version of edge-retrieval",
            )
        changes.append(_change(old, new, seed))
    if not changes:
        raise ConfigError("the reports measure nothing in common", hint="compare like with like")
    return changes


def unlike(before: Report, after: Report) -> list[str]:
    """Say in which settings two reports differ that both tell: their ratios mean that, too."""
    return [
        f"{key} was {value} in the first report, {after.settings[key]} in the second"
        for key, value in before.settings.items()
        if key not in MAY_DIFFER and key in after.settings and value != after.settings[key]
    ]


def require_one_machine(before: Report, after: Report) -> None:
    """Raise `ConfigError` for reports that cannot be of one machine."""
    if same_machine(before.host, after.host):
        return
    names = [str(report.host.get("cpu", "unknown")) for report in (before, after)]
    if names[0] == names[1]:
        sizes = _size(before), _size(after)
        names = [f"{name}, {size}" for name, size in zip(names, sizes, strict=True)]
    raise ConfigError(
        f"reports of different machines: {names[0]} and {names[1]}",
        hint="measure both on one machine, or compare devices with --across",
    )


def _size(report: Report) -> str:
    memory = report.host.get("memory")
    cores = f"{report.host.get('cores', '?')} cores"
    return f"{cores}, {human(memory, 'B')}" if isinstance(memory, int) else cores


def _change(old: Measurement, new: Measurement, seed: int) -> Change:
    interval = None
    if min(old.n, new.n) >= LEAST and old.name not in OF_FEW_PROCESSES:
        interval = ratio_interval(old.samples, new.samples, rng=np.random.default_rng(seed))
    return Change(old.name, old.unit, old.median, new.median, dict(old.labels), interval)


def ratio_interval(
    before: Sequence[float],
    after: Sequence[float],
    *,
    rng: np.random.Generator,
    resampled: int = RESAMPLED,
) -> tuple[float, float] | None:
    """Return the bootstrap interval, 95 %, of `median(after) / median(before)`.

    Both are drawn anew from themselves, with repeats, so many times; the interval holds the middle
    95 % of the ratios. It knows what chance does within a run, not what differs between two runs.

    Returns:
        (low, high); None where a median of `before` is zero.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: the percentile
        interval.
    """
    below = resampled_medians(np.asarray(before, np.float64), resampled, rng)  # (B,)
    above = resampled_medians(np.asarray(after, np.float64), resampled, rng)  # (B,)
    if (below == 0).any():
        return None
    outside = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(above / below, [outside, 100 - outside])
    return float(low), float(high)


def resampled_medians(
    samples: np.ndarray[tuple[int], np.dtype[np.float64]], times: int, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return ``(times,)``: medians of as many samples, drawn from them with repeats."""
    step = max(1, DRAWN_AT_ONCE // len(samples))
    medians = [
        np.median(
            samples[rng.integers(0, len(samples), (min(step, times - done), len(samples)))], 1
        )
        for done in range(0, times, step)
    ]
    return np.concatenate(medians)
