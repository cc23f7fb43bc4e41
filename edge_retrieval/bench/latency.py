"""One search at a time, stage by stage: every contestant in turn, round by round."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bench.contestants import Contestant
from edge_retrieval.bench.course import Course
from edge_retrieval.bench.settings import BenchSettings
from edge_retrieval.drawing import FigureImage, fit_batch
from edge_retrieval.drawing.cut import cut_pages
from edge_retrieval.drawing.decode import read_pages
from edge_retrieval.evidence import to_json
from edge_retrieval.register import Register
from edge_retrieval.report import Measurement
from edge_retrieval.search import Query, search

WARM_UP = 3
"""Rounds that are run and thrown away: first calls allocate, page in and choose kernels."""

STAGES = ("decode", "cut", "fit", "embed", "search", "print")


@dataclass
class Searcher:
    """Searches in a register with one drawing after the other, and counts the time of each stage.

    Attributes:
        register: What is searched.
        sheets: Drawings, taken in turn.
        k: Designs asked for.
    """

    register: Register
    sheets: Sequence[Path]
    k: int
    _stored: dict[int, Embeddings] = field(default_factory=dict)

    def run(self, contestant: Contestant, turn: int) -> tuple[float, ...]:
        """Search once, from the file to the printed answer; return the seconds of `STAGES`."""
        path = self.sheets[turn % len(self.sheets)]
        moments = [time.perf_counter()]

        def done() -> None:
            moments.append(time.perf_counter())

        pages = list(read_pages(path.read_bytes(), where=str(path)))
        done()
        figures = cut_pages(pages, where=str(path))
        done()
        images = fit_batch(figures, contestant.bundle.preprocessing)  # (F, C, H, W)
        done()
        embeddings = contestant.encoder.embed(images)  # (F, D)
        done()
        query = Query(name=str(path), figures=figures)
        vectors = self._searchable(contestant, embeddings)
        results = search(self.register, [query], embeddings=[vectors], k=self.k)
        done()
        json.dumps(to_json(results, register=self.register))
        done()
        return tuple(later - earlier for earlier, later in pairwise(moments))

    def _searchable(self, contestant: Contestant, embeddings: Embeddings) -> Embeddings:
        """Return what the register can be asked for: of another length, its own vectors instead."""
        dim = self.register.bundle.dim
        if contestant.encoder.dim == dim:
            return embeddings
        many = len(embeddings)
        if many not in self._stored:
            self._stored[many] = self.register.read_rows([0] * many)
        return self._stored[many]

    def figures(self) -> list[FigureImage]:
        """Return the figures of all drawings."""
        return [
            figure
            for path in self.sheets
            for figure in cut_pages(read_pages(path.read_bytes(), where=str(path)), where=str(path))
        ]


def measure_latency(
    searcher: Searcher, who: Sequence[Contestant], settings: BenchSettings, course: Course
) -> list[Measurement]:
    """Return `latency` by stage of every contestant.

    Before each search stands one call of the same encoder that is not counted: after it the caches
    are its own, and the threads of the one before sleep (see `speed.compare_speed`).
    """
    some = searcher.figures()[:1]
    seen: dict[Contestant, Images] = {
        one: fit_batch(some, one.bundle.preprocessing) for one in who
    }  # (1, C, H, W)
    samples: dict[Contestant, list[tuple[float, ...]]] = {one: [] for one in who}
    for one in who:
        for turn in range(WARM_UP):
            searcher.run(one, turn)
    least, most = settings.rounds("latency")
    for turn in course.rounds("Searching", settings.budget("latency"), least, most):
        first = turn % len(who)
        for one in (*who[first:], *who[:first]):
            one.encoder.embed(seen[one])
            samples[one].append(searcher.run(one, turn))
    cycle, done = len(searcher.sheets), len(samples[who[0]])
    if settings.runs is None and done >= cycle:  # each drawing as often as the others
        samples = {one: runs[: done // cycle * cycle] for one, runs in samples.items()}
    elif done < cycle:
        course.note(f"time was left for {done} of {cycle} drawings: others may cost more or less")
    found = []
    for one, runs in samples.items():
        stages = dict(zip(STAGES, zip(*runs, strict=True), strict=True))
        stages["total"] = tuple(sum(run) for run in runs)
        found += [
            Measurement("latency", "s", seconds, {**one.labels, "stage": stage})
            for stage, seconds in stages.items()
        ]
    return found
