"""What formulas do not tell: the slowest of many shards, queues, and jobs whose workers are lost.

Everything is drawn from raw measured samples with a seed. A simulation, no measurement: draws are
independent, and neither networks nor shared memory buses are in it but as a constant.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
WARM = 0.1
"""Share of the first searches of a queue that do not count: it begins empty."""


def drawn(
    samples: Sequence[float], shape: int | tuple[int, ...], rng: np.random.Generator
) -> Seconds:
    """Draw from raw samples, with replacement."""
    return rng.choice(np.asarray(samples, np.float64), shape)


def fan_out(
    samples: Sequence[float], shards: int, searches: int, rng: np.random.Generator, *,
    copies: int = 1, hedged: bool = False,
) -> Seconds:  # fmt: skip
    """Return ``(searches,)`` seconds until the slowest of the shards has answered.

    Args:
        samples: Seconds of one shard.
        shards: S.
        searches: How many are simulated.
        rng: Of the draws.
        copies: Each shard is asked on so many machines at once, and the first answer counts.
        hedged: It is asked again on another machine once it takes longer than 95 of 100 do, and the
            first answer counts (Dean and Barroso, The Tail at Scale, CACM 2013).
    """
    slowest = np.zeros(searches)
    late = float(np.percentile(samples, 95))
    for _ in range(shards):
        one = drawn(samples, (copies, searches), rng).min(axis=0)
        if hedged:
            again = late + drawn(samples, searches, rng)
            one = np.where(one > late, np.minimum(one, again), one)
        slowest = np.maximum(slowest, one)
    return slowest


def on_cores(
    samples: Sequence[float], shards: int, cores: int, searches: int, rng: np.random.Generator
) -> Seconds:
    """Return ``(searches,)`` seconds until one machine has searched its shards, its cores idle.

    Each core takes every `cores`-th shard, one after the other.
    """
    lanes = min(cores, shards)
    sums = np.zeros((lanes, searches))
    for number in range(shards):
        sums[number % lanes] += drawn(samples, searches, rng)
    slowest: Seconds = sums.max(axis=0)
    return slowest


def queue(arrivals: Seconds, services: Seconds, servers: int) -> Seconds:
    """Return ``(n,)`` seconds that each waits and is served: first come, first served.

    Args:
        arrivals: ``(n,)`` moments, ascending.
        services: ``(n,)`` seconds.
        servers: c.
    """
    free = [0.0] * servers
    took = np.empty(len(arrivals))
    for number, (came, lasts) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        end = max(came, free[0]) + lasts
        heapq.heapreplace(free, end)
        took[number] = end - came
    return took


def p99_at(
    rate: float, services: Callable[[int, np.random.Generator], Seconds], servers: int,
    searches: int, seed: int,
) -> float:  # fmt: skip
    """Return the 99th percentile, in seconds, of searches that come at random, `rate` a second."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, searches))
    took = queue(arrivals, services(searches, rng), servers)
    return float(np.percentile(took[int(WARM * searches) :], 99))


def most_a_second(
    services: Callable[[int, np.random.Generator], Seconds], servers: int, limit: float, *,
    searches: int = 20_000, seed: int = 0,
) -> float:  # fmt: skip
    """Return the most searches a second whose 99th percentile stays below `limit` seconds.

    Found by halving, to 1 %; 0 if even a lone search takes longer. The same random numbers are
    used at each rate.
    """
    mean = float(services(2_000, np.random.default_rng(seed)).mean())
    low, high = 0.0, servers / mean
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        if p99_at(middle, services, servers, searches, seed) < limit:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True)
class Job:
    """How a bulk job went.

    Attributes:
        seconds: Until the last shard was done.
        ideal: Without failures, overhead, and waiting for the last one.
        lost: Workers lost.
        wasted: Seconds of work that were done again, all workers together.
    """

    seconds: float
    ideal: float
    lost: int
    wasted: float


def job(
    lengths: Seconds, workers: int, *, failure: float, restart: float, overhead: float,
    rng: np.random.Generator,
) -> Job:  # fmt: skip
    """Play a job: each free worker takes the next shard; one whose worker is lost is taken again.

    Args:
        lengths: ``(N,)`` seconds of work of each shard.
        workers: W.
        failure: Mean seconds until a worker is lost, Poisson.
        restart: Seconds until another takes its place.
        overhead: Seconds that a shard costs beyond its work.
        rng: Of the failures.
    """
    waiting = lengths[::-1].tolist()  # the next one last
    again: list[tuple[float, float]] = []  # lost shards: from when they can be taken, their length
    free = [0.0] * workers
    end = wasted = 0.0
    lost = 0
    while waiting or again:
        at = heapq.heappop(free)
        if again and (again[0][0] <= at or not waiting):
            since, length = heapq.heappop(again)
            at = max(at, since)
        else:
            length = waiting.pop()
        fails = rng.exponential(failure)
        if fails < length + overhead:
            lost, wasted = lost + 1, wasted + fails
            heapq.heappush(again, (at + fails, length))
            heapq.heappush(free, at + fails + restart)
        else:
            end = max(end, at + length + overhead)
            heapq.heappush(free, at + length + overhead)
    return Job(end, float(lengths.sum()) / workers, lost, wasted)


def fleet(
    arrivals: Seconds, first: Seconds, tasks: NDArray[np.float64], *, machines: int, cores: int,
    hop: float,
) -> Seconds:  # fmt: skip
    """Return ``(n,)`` seconds of searches by machines that hold a part of the shards each.

    A search is prepared (cut, embedded) on one machine, the next in turn, then asks all of them;
    the slowest decides. All cores of a machine take its work first come, first served.

    Args:
        arrivals: ``(n,)`` moments, ascending.
        first: ``(n,)`` seconds of preparing.
        tasks: ``(n, machines, lanes)`` seconds: on each machine so many pieces of work at once.
        machines: H.
        cores: Of each.
        hop: Seconds from one machine to another and back.
    """
    free = [[0.0] * cores for _ in range(machines)]
    done = np.zeros(len(arrivals))
    coming = [(at, number, -1) for number, at in enumerate(arrivals.tolist())]
    heapq.heapify(coming)
    while coming:
        at, number, machine = heapq.heappop(coming)
        if machine < 0:
            own = free[number % machines]
            end = max(at, own[0]) + first[number]
            heapq.heapreplace(own, end)
            for other in range(machines):
                heapq.heappush(coming, (end + hop, number, other))
            continue
        for lasts in tasks[number, machine].tolist():
            end = max(at, free[machine][0]) + lasts
            heapq.heapreplace(free[machine], end)
            done[number] = max(done[number], end)
    took: Seconds = done - arrivals
    return took
