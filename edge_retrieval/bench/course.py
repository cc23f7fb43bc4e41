"""The course of one bench: rounds until a budget is spent, and how quiet the machine was meanwhile.

Between the rounds of whatever is measured stands a small fixed computation. On a quiet machine it
always takes as long; where it does not, other programs, heat or another clock disturbed the rest,
too, and the report says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edge_retrieval.bench import sensors
from edge_retrieval.progress import Track, silent
from edge_retrieval.report import Measurement

EVERY = 0.25
"""Seconds between two reference samples, at least: they cost 1 % of the time then."""

SPREAD = 1.3
"""p90 over p50 of the reference above which a machine is called busy. Of a quiet one it is 1.1."""

DRIFT = 1.5
"""p90 over p10 of the reference above which a machine is called busy: it was slower for a long part
of the bench than for another, as a device is that grows hot. Of a quiet one it is 1.2."""

OTHERS = 0.15
"""Share of the time of the cores that this process may use, taken by others, from which a machine
is called busy."""

LOADED = 0.7
"""Load of the minute before the bench, per core, from which a machine is called busy."""

COUNT = 100_000
"""Numbers that the reference sorts: 1 ms of a laptop, some of a Raspberry Pi, on one core. No
matrices are multiplied: numpy's BLAS would take several cores."""


class Course:
    """One bench on its way.

    Args:
        track: Shows the rounds.
        clock: Gives seconds.
        root: Where /proc is.
    """

    def __init__(
        self,
        track: Track = silent,
        *,
        clock: Callable[[], float] = time.perf_counter,
        root: Path = sensors.ROOT,
    ) -> None:
        self.track = track
        self.notes: list[str] = []
        self.skipped = 0
        self._clock, self._root = clock, root
        self._cores = cores_of_ours(root)
        self.began = clock()
        self._load = _load()
        self._reference: list[tuple[float, float]] = []  # (at, seconds)
        self._others: list[tuple[float, float]] = []  # (at, share)
        self._numbers = np.random.default_rng(0).standard_normal(COUNT)
        compute(self._numbers)
        self._spent = self._times()

    def at(self) -> float:
        """Return the seconds since the bench began."""
        return self._clock() - self.began

    def note(self, text: str) -> None:
        """Keep a sentence for the report, once."""
        if text not in self.notes:
            self.notes.append(text)

    def rounds(self, what: str, budget: float, least: int, most: int) -> Iterator[int]:
        """Yield round numbers from 0 until the budget is spent.

        Args:
            what: Is measured, for people.
            budget: Seconds, counted from the first round on.
            least: Rounds, however long they take.
            most: Rounds, however short they are.
        """
        yield from self.track(self._until_spent(budget, least, most), what, most)

    def _until_spent(self, budget: float, least: int, most: int) -> Iterator[int]:
        ends = self._clock() + budget
        for number in range(most):
            if number >= least and self._clock() >= ends:
                return
            self.listen()
            yield number
        self.listen()

    def listen(self) -> None:
        """Take a reference sample, unless the last one is fresh."""
        if self._reference and self.at() - self._reference[-1][0] < EVERY:
            return
        self._take_others()
        compute(self._numbers)  # not counted: after it the caches are its own
        start = self._clock()
        compute(self._numbers)
        seconds = self._clock() - start
        self._reference.append((self.at(), seconds))

    def _take_others(self) -> None:
        before, now = self._spent, self._times()
        if before is None or now is None:
            return
        wall, busy, own = (later - earlier for earlier, later in zip(before, now, strict=True))
        cores = len(self._cores) or os.cpu_count() or 1
        if wall * cores < 0.5:
            return  # /proc counts hundredths
        share = (busy - own) / (wall * cores)
        self._others.append((self.at(), float(np.clip(share, 0.0, 1.0))))
        self._spent = now

    def _times(self) -> tuple[float, float, float] | None:
        """Return wall seconds, those that our cores worked, and those of this process and its."""
        busy = sensors.busy_seconds(self._root, self._cores)
        if busy is None:
            return None
        return self._clock(), busy, sum(os.times()[:4])

    def measurements(self) -> list[Measurement]:
        """Return what tells how quiet the machine was."""
        found = []
        for name, unit, series in (
            ("noise.reference", "s", self._reference),
            ("noise.others", "1", self._others),
        ):
            if series:
                at, samples = zip(*series, strict=True)
                found.append(Measurement(name, unit, samples, at=at))
        return found

    def busy(self) -> str | None:
        """Say how the machine was busy, and by which numbers that is known; None: it was not."""
        return what_was_busy(
            {one.name: one for one in self.measurements()}, self._load, os.cpu_count() or 1
        )


def cores_of_ours(root: Path = sensors.ROOT) -> tuple[int, ...]:
    """Return the numbers of the cores that this process may use, if the system counts by them."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return cores if sensors.busy_seconds(root, cores) is not None else ()


def what_was_busy(noise: dict[str, Measurement], load: float | None, cores: int) -> str | None:
    """Say by which numbers a machine was busy; None: by none.

    Args:
        noise: What `Course.measurements` returns, by name.
        load: Of the whole machine, in the minute before.
        cores: That the whole machine has, for the load is that of all of them.
    """
    told = []
    reference, others = noise.get("noise.reference"), noise.get("noise.others")
    if reference is not None and (spread := reference.p90 / reference.p50) > SPREAD:
        told.append(
            f"a fixed computation took {spread:.2f} times as long at its 90th percentile as at its"
            f" median (quiet: below {SPREAD})"
        )
    elif reference is not None and (drift := reference.p90 / reference.percentile(10)) > DRIFT:
        told.append(
            f"a fixed computation took {drift:.2f} times as long at its 90th percentile as at its"
            f" 10th (quiet: below {DRIFT})"
        )
    if others is not None and (share := mean_in_time(others)) > OTHERS:
        told.append(
            f"other processes took {share:.0%} of its cores' time (quiet: below {OTHERS:.0%})"
        )
    if load is not None and load > LOADED * cores:
        told.append(f"the load was {load:.1f} on {cores} cores before the bench began")
    if not told:
        return None
    return f"the machine was busy: {'; '.join(told)}; expect other numbers when it is quiet"


def mean_in_time(shares: Measurement) -> float:
    """Return the mean of shares, each counted by how long it stands for: since the one before."""
    lengths = np.diff(shares.at, prepend=0.0) if shares.at else np.ones(shares.n)
    return float(np.average(shares.samples, weights=np.maximum(lengths, 1e-9)))


def compute(numbers: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Do the same work each time: sorts and roots, on one core."""
    return float(np.sqrt(np.abs(np.sort(numbers))).sum())


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
