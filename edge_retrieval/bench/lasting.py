"""Searching without a pause: what heat does to latency, and what a search costs in joules."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from edge_retrieval.bench import sensors
from edge_retrieval.bench.contestants import Contestant
from edge_retrieval.bench.course import Course
from edge_retrieval.bench.latency import Searcher
from edge_retrieval.bench.settings import BenchSettings
from edge_retrieval.report import Label, Measurement

LOOK = 1.0
"""Seconds between two looks at the sensors."""

STRETCH = 1.0
"""Seconds over which energy is counted at once: its counters move every millisecond."""

GLANCE = 0.05
"""Seconds between two looks at a chip that tells watts, not joules."""

Series = list[tuple[float, float]]
"""(at, value) after (at, value)."""


def measure_sustained(
    searcher: Searcher, first: Contestant, settings: BenchSettings, course: Course
) -> list[Measurement]:
    """Return `sustained`, and `temperature`, `clock`, `throttled` where the system tells them."""
    totals: Series = []
    watched = Watched(course)
    seconds = max(1, round(settings.sustained / LOOK))
    began = course.at()
    for second in course.track(range(seconds), "Searching without a pause", seconds):
        watched.look()
        course.listen()
        ends = began + (second + 1) * settings.sustained / seconds
        while not totals or course.at() < ends:
            total = sum(searcher.run(first, len(totals)))
            totals.append((course.at(), total))
    watched.look()
    return [_series("sustained", "s", totals, first.labels), *watched.measurements()]


class Watched:
    """What the sensors told, look by look."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._heat: Series = []
        self._clock: Series = []
        self._throttled: Series = []
        self._sensor = self._counter = ""
        self._events = 0.0

    def look(self) -> None:
        """Ask every sensor."""
        if (heat := sensors.temperature()) is not None:
            self._sensor = self._sensor or heat[0]
            self._heat.append((self._course.at(), heat[1]))
        if (clock := sensors.clock()) is not None:
            self._clock.append((self._course.at(), clock))
        if (throttled := sensors.throttled()) is not None:
            counter, value = throttled
            if not self._counter:
                self._counter, self._events = counter, value
            since = value - self._events if counter == "events" else value
            self._throttled.append((self._course.at(), since))

    def measurements(self) -> list[Measurement]:
        """Return the series; a note stands for those that the system does not tell."""
        found = []
        for name, unit, series, labels in (
            ("temperature", "degC", self._heat, {"sensor": self._sensor}),
            ("clock", "Hz", self._clock, {}),
            ("throttled", "1", self._throttled, {"counter": self._counter}),
        ):
            if series:
                found.append(_series(name, unit, series, labels))
            else:
                self._course.note(f"{name} is not shown: this system does not tell it")
        return found


def _series(name: str, unit: str, series: Series, labels: Mapping[str, Label]) -> Measurement:
    at, samples = zip(*series, strict=True)
    return Measurement(name, unit, samples, labels, at)


def measure_energy(
    searcher: Searcher, who: Sequence[Contestant], settings: BenchSettings, course: Course
) -> list[Measurement]:
    """Return `energy` of a search of each contestant, and `power`, where the system tells them.

    What the processor uses idle is part of it: a search is not free of its machine.
    """
    meter = energy_meter()
    if meter is None:
        course.note(
            "energy is not measured: no counter of it can be read here (/sys/class/powercap, often"
            " for root alone; /sys/class/hwmon)"
        )
        return []
    joules: dict[tuple[Contestant, str], list[float]] = {}
    power: dict[tuple[str, str], list[float]] = {}
    least, most = settings.rounds("energy")
    budget = settings.budget("energy")
    for _ in course.rounds("Counting joules", budget, least, most):
        for domain, used in meter(_idle).items():
            power.setdefault((domain, "idle"), []).append(used / STRETCH)
        for one in who:
            done: list[float] = []
            for domain, used in meter(lambda: _work(searcher, one, done)).items():  # noqa: B023
                joules.setdefault((one, domain), []).append(used / len(done))
                power.setdefault((domain, "search"), []).append(used / sum(done))
    return [
        *(
            Measurement("energy", "J", tuple(values), {**one.labels, "domain": domain})
            for (one, domain), values in joules.items()
        ),
        *(
            Measurement("power", "W", tuple(values), {"domain": domain, "doing": doing})
            for (domain, doing), values in power.items()
        ),
    ]


Meter = Callable[[Callable[[], None]], dict[str, float]]
"""Runs what it is given, and returns the joules that each domain used meanwhile."""


def energy_meter() -> Meter | None:
    """Return what counts joules here: RAPL's counters, else the watts of hwmon chips, summed up."""
    if counters := sensors.energy_counters():

        def counted(work: Callable[[], None]) -> dict[str, float]:
            for counter in counters:
                counter.joules()
            work()
            return {counter.name: counter.joules() for counter in counters}

        return counted
    if sensors.watts():
        return _summed
    return None


def _summed(work: Callable[[], None]) -> dict[str, float]:
    """Look at the chips' watts from another thread while the work goes on."""
    seen: list[dict[str, float]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(GLANCE):
            seen.append(sensors.watts())

    watcher = threading.Thread(target=watch, daemon=True)
    start = time.perf_counter()
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    seconds = time.perf_counter() - start
    seen = seen or [sensors.watts()]
    return {chip: seconds * sum(one.get(chip, 0.0) for one in seen) / len(seen) for chip in seen[0]}


def _idle() -> None:
    time.sleep(STRETCH)


def _work(searcher: Searcher, one: Contestant, done: list[float]) -> None:
    """Search for a stretch; leave the seconds of each search in `done`."""
    start = time.perf_counter()
    while not done or time.perf_counter() - start < STRETCH:
        before = time.perf_counter()
        searcher.run(one, len(done))
        done.append(time.perf_counter() - before)
