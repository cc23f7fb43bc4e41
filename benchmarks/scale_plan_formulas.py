"""The formulas of the plan: pure, small, each with its units. docs/scale-plan.md says why each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

HOUR = 3600.0
"""Seconds."""
MONTH = 730.0
"""Hours: a twelfth of a year."""
GB, TB = 1e9, 1e12
"""Bytes."""


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return a and b of the least-squares line y = a + b x; two points or more."""
    slope, start = statistics.linear_regression(x, y)
    return start, slope


def scan_seconds(figures: float, medians: Mapping[int, float]) -> float:
    """Return the seconds of a scan of every figure: t(n) = t(N) n / N, of the largest N measured.

    A scan reads every byte once, so it grows as the figures do.

    Args:
        figures: n.
        medians: Seconds measured, by the number of figures.
    """
    if (measured := medians.get(int(figures))) is not None:
        return measured
    largest = max(medians)
    return medians[largest] * figures / largest


def graph_seconds(figures: float, medians: Mapping[int, float]) -> float:
    """Return the seconds to follow a graph: t(n) = a + b log10 n through what was measured.

    Each step of a graph's search leaves a like share of the figures behind (Malkov and Yashunin,
    arXiv:1603.09320), so it grows as their logarithm. Below the least that was measured: as there.
    """
    if (measured := medians.get(int(figures))) is not None:
        return measured
    start, slope = line([math.log10(n) for n in medians], list(medians.values()))
    return start + slope * math.log10(max(figures, min(medians)))


def missed(vectors: float, memory: float, used: float) -> float:
    """Return the share of vectors that is not in memory; all in bytes, of all machines together.

    Args:
        vectors: Of all figures.
        memory: Of the machines.
        used: By what must be in it.
    """
    return min(1.0, max(0.0, 1 - (memory - used) / vectors))


def shards(figures: float, most: float) -> int:
    """Return how many shards of at most `most` figures hold so many; at least 1."""
    return max(1, math.ceil(figures / most))


def machines(need: float, each: float, fill: float) -> int:
    """Return how many machines hold `need`, if no more than a share `fill` of `each` is used.

    Both in the same unit: bytes, or core-seconds a second.
    """
    return max(1, math.ceil(need / (each * fill) - 1e-9))


def core_hours(count: float, seconds: float) -> float:
    """Return core-hours of so many things that take a core so many seconds each."""
    return count * seconds / HOUR


def wall_hours(work: float, cores: float, *, least: float = 0.0) -> float:
    """Return hours of some core-hours on so many cores; not below `least` hours of one process."""
    return max(work / cores, least)


def month_price(
    machine_count: float, *, cores: float, memory_gb: float, disk_tb: float,
    core_hour: float, memory_gb_month: float, disk_gb_month: float,
) -> float:  # fmt: skip
    """Return the price of a month of some machines: cores, memory and disk, all day."""
    one = cores * core_hour * MONTH + memory_gb * memory_gb_month + disk_tb * 1e3 * disk_gb_month
    return machine_count * one


def per_million(month: float, rate: float) -> float:
    """Return the price of a million searches, of machines that cost `month` a month.

    Args:
        month: Price of a month.
        rate: Mean searches a second over the month.
    """
    return month / (rate * MONTH * HOUR) * 1e6


def per_million_busy(seconds: float, core_hour: float) -> float:
    """Return the price of a million searches of so many core-seconds each, if no core idles."""
    return 1e6 * seconds / HOUR * core_hour


def copy_hours(size: float, mb_s: float, disks: int) -> float:
    """Return hours to read `size` bytes and write as many, on so many disks at once."""
    return 2 * size / (mb_s * 1e6 * disks) / HOUR


def mmc_wait(rate: float, service: float, servers: int) -> float:
    """Return the mean seconds of waiting in M/M/c (Erlang C).

    Args:
        rate: Arrivals a second, Poisson.
        service: Mean seconds of service, exponential.
        servers: c.

    Raises:
        ValueError: They cannot keep up.
    """
    load = rate * service
    if load >= servers:
        raise ValueError("more arrives than is served")
    blocked = 1.0  # Erlang B of no server; then by its recurrence
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    waits = servers * blocked / (servers - load * (1 - blocked))
    return waits * service / (servers - load)


def md1_wait(rate: float, service: float) -> float:
    """Return the mean seconds of waiting in M/D/1: rho s / (2 (1 - rho)) (Pollaczek, Khinchine)."""
    rho = rate * service
    if rho >= 1:
        raise ValueError("more arrives than is served")
    return rho * service / (2 * (1 - rho))


def redone_seconds(seconds: float, failure: float, restart: float) -> float:
    """Return the mean seconds until work of `seconds` is done by one who may fail on the way.

    Failures are Poisson with mean time `failure`; each loses the work so far, and costs `restart`:
    (exp(t / F) - 1) (F + R).
    """
    return math.expm1(seconds / failure) * (failure + restart)


def shard_cost(
    designs: float, *, per_design: float, overhead: float, total: float, workers: int,
    failure: float, restart: float,
) -> float:  # fmt: skip
    """Return how much longer a job takes than the ideal, by its shard size: a share.

    Three parts: what a shard costs beyond its designs, what failures make do again, and the end,
    when on average half a shard is waited for.

    Args:
        designs: Of a shard.
        per_design: Seconds of work.
        overhead: Seconds a shard.
        total: Designs of the job.
        workers: Cores.
        failure: Mean seconds until a worker is lost.
        restart: Seconds until another is there.
    """
    ideal = total * per_design / workers
    one = redone_seconds(designs * per_design + overhead, failure, restart)
    return (total / designs * one / workers + one / 2) / ideal - 1
