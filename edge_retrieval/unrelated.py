"""How high designs score that have nothing in common: counted.

Every figure of a source, and every two, four and eight that follow one another in a design, as they
do on a sheet, searches every one, two, four and eight of the designs that are unrelated to its own;
a design scores as in `search`, by its best pair. What is kept is how many reach a score: of designs
with many figures more do, so a measurement on front pages alone would mislead.

Unrelated designs are of different classes, as coarse as the labels tell, and of no common
applicant. Where a class is not known their numbers lie apart: an office gives consecutive numbers
to the siblings of one maker. Designs of different sources are not compared: their classes may be of
different schemes, and both may hold the same design. A copy that is left among the unrelated makes
scores say less than they could, never more.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.calibration import Table
from edge_retrieval.encoder.prefix import cut_rows
from edge_retrieval.errors import EvaluationError
from edge_retrieval.evaluate import Embedded

FIGURES = (1, 2, 4, 8)
"""Figures that are searched with at once, and figures of a design that is searched."""

APART = 10
"""Designs of unknown class whose numbers differ by no more may be siblings."""

UNRELATED = (
    "designs of different classes at the coarsest level and of no common applicant; where a class"
    f" is not known, with numbers more than {APART} apart; within one source"
)

FEW = 20
"""Designs below which nothing is measured."""

LEAST = 3
"""Pairs of designs that must reach a score for their share to be told."""

STEPS = 8192
"""Scores are counted in so many steps from 0 to 1."""

Steps: TypeAlias = NDArray[np.int16]
"""Scores as steps: 0 for -1, 2 * STEPS for 1."""

SPOKEN = (
    *range(1, 10),
    *(first * 10**power for power in range(12) for first in (10, 15, *range(20, 100, 10))),
)
"""For 1 in each of these the least score is kept: 1, 2, ... 9, 10, 15, 20, ... as people say it."""

CHUNK = 512
"""Figures that are compared with all others at once: bounds memory at 8 * CHUNK * N bytes."""


def tables_of(sources: Sequence[Embedded], dims: Sequence[int]) -> Iterator[Table]:
    """Yield what was found for each number of dimensions and of figures, as far as it goes.

    Args:
        sources: With all numbers of the embeddings.
        dims: How many of the first to use.

    Raises:
        EvaluationError: Too few designs, or of one class only.
    """
    designs = sum(len(set(source.designs)) for source in sources)
    if designs < FEW:
        raise EvaluationError(
            f"{designs} designs: too few to tell what a score means",
            hint=f"measure on {FEW} or more; a thousand tell what is rare",
        )
    kins = [_Kin(source) for source in sources]
    for dim in dims:
        tallies = {pair: _Tally() for pair in combinations_with_replacement(FIGURES, 2)}
        for number, (source, kin) in enumerate(zip(sources, kins, strict=True)):
            _count(number, cut_rows(source.embeddings, dim), kin, tallies)
        if tallies[1, 1].limit is None:
            raise EvaluationError(
                "hardly two designs are unrelated: all are of one class, or of one applicant",
                hint="measure on designs of several classes",
            )
        for pair, tally in tallies.items():
            able = sum(int((kin.ends - kin.starts >= pair[1]).sum()) for kin in kins)
            if pair == (1, 1) or (able >= FEW and tally.limit is not None):
                yield tally.table(dim, pair)


class _Groups(NamedTuple):
    """The figures of designs, so many at a time, as they follow one another; the rest is left out.

    Attributes:
        rows: ``(R,)`` the figures.
        starts: ``(K,)`` where each group begins among them.
        designs: ``(K,)`` the design of each group.
        firsts: ``(B,)`` where the groups of each design begin that has any.
        owners: ``(B,)`` those designs.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    designs: NDArray[np.int64]
    firsts: NDArray[np.int64]
    owners: NDArray[np.int64]


def _groups(starts: NDArray[np.int64], ends: NDArray[np.int64], count: int) -> _Groups:
    """Group the figures of designs, ``starts[d]`` to ``ends[d]`` each, by `count`."""
    numbers = (ends - starts) // count  # groups of each design
    designs = np.repeat(np.arange(len(starts)), numbers)
    before = np.cumsum(numbers) - numbers
    place = np.arange(len(designs)) - before[designs]  # of a group within its design
    rows = (starts[designs] + place * count)[:, None] + np.arange(count)
    owners = np.flatnonzero(numbers)
    return _Groups(rows.ravel(), np.arange(len(designs)) * count, designs, before[owners], owners)


class _Kin:
    """The designs of a source, D of them in the order of their names, and who is related to whom.

    Attributes:
        rows: ``(N,)`` rows of the embeddings, design by design, in the source's order within one.
        starts: ``(D,)`` where those of each design begin.
        ends: ``(D,)`` where they end.
    """

    def __init__(self, source: Embedded) -> None:
        names, first, of = np.unique(
            np.array(source.designs, np.str_), return_index=True, return_inverse=True
        )
        self.rows = np.argsort(of.reshape(-1), kind="stable")
        self.starts = np.searchsorted(of.reshape(-1)[self.rows], np.arange(len(names)))
        self.ends = np.append(self.starts[1:], len(of.reshape(-1)))
        classes = [source.labels[row][:1] for row in first]
        known = {label: code for code, label in enumerate(sorted(set(classes) - {()}))}
        self._class = np.array([known.get(label, -1) for label in classes], np.int64)
        kinds: dict[str, int] = {}
        parts = [re.fullmatch(r"(.*?)(\d{1,15})\D*", name) for name in names.tolist()]
        self._kind = np.array(
            [kinds.setdefault(p[1], len(kinds)) if p else -1 for p in parts], np.int64
        )
        self._number = np.array([int(p[2]) if p else 0 for p in parts], np.int64)
        owners = [set(source.applicants[row]) if source.applicants else set() for row in first]
        self._owners = owners
        self._owned: dict[str, list[int]] = defaultdict(list)
        for design, own in enumerate(owners):
            for owner in own:
                self._owned[owner].append(design)

    def related(self, design: int) -> NDArray[np.bool_]:
        """Return ``(D,)``: which designs may have to do with a design; itself among them."""
        known = (self._class >= 0) & (self._class[design] >= 0)
        near = (self._kind == self._kind[design]) & (self._kind >= 0)
        near &= np.abs(self._number - self._number[design]) <= APART
        found: NDArray[np.bool_] = np.where(known, self._class == self._class[design], near)
        found[design] = True
        for owner in self._owners[design]:
            found[self._owned[owner]] = True
        return found


@dataclass
class _Tally:
    """Scores of unrelated pairs, counted.

    Attributes:
        counts: ``(2 * STEPS + 1,)`` pairs in each step of the score, from -1 to 1.
        best: The step of each of the best pairs of designs, `LEAST` of them: (source, one, other).
    """

    counts: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(2 * STEPS + 1, np.int64), repr=False
    )
    best: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def add(
        self,
        source: int,
        design: int,
        steps: Steps,
        groups: _Groups,
        related: NDArray[np.bool_],
    ) -> None:
        """Count the scores ``(Q, K)`` of the groups of all designs for Q drawings of a design."""
        wanted = ~related[groups.designs]
        if not wanted.any():
            return
        self.counts += np.bincount(steps[:, wanted].ravel(), minlength=len(self.counts))
        best = np.maximum.reduceat(steps.max(axis=0), groups.firsts)  # (B,)
        best[related[groups.owners]] = -1
        for place in np.argpartition(-best, min(LEAST, len(best)) - 1)[:LEAST]:
            other, step = int(groups.owners[place]), int(best[place])
            pair = source, min(design, other), max(design, other)
            if step >= 0:
                self.best[pair] = max(self.best.get(pair, 0), step)
        self.best = dict(heapq.nlargest(LEAST, self.best.items(), key=lambda item: item[1]))

    @property
    def limit(self) -> int | None:
        """The last step that `LEAST` pairs of designs reach; None: there are not so many pairs."""
        return min(self.best.values()) if len(self.best) == LEAST else None

    def table(self, dim: int, figures: tuple[int, int]) -> Table:
        """Keep the least score for each share that is spoken of, and the last that can be told."""
        limit = self.limit
        assert limit is not None
        reached = np.cumsum(self.counts[::-1])[::-1]  # (S,) pairs that reach each step
        pairs = int(reached[0])
        wanted = pairs / np.array(SPOKEN)
        kept = np.searchsorted(-reached[: limit + 1], -wanted)  # the first step of no more
        steps = np.unique(np.append(kept[kept <= limit], limit))
        return Table(
            dim=dim,
            figures=figures,
            pairs=pairs,
            scores=tuple((steps / STEPS - 1).tolist()),
            counts=tuple(reached[steps].tolist()),
            beyond=(limit + 1) / STEPS - 1,
        )


def _count(
    source: int, embeddings: Embeddings, kin: _Kin, tallies: dict[tuple[int, int], _Tally]
) -> None:
    """Let every drawing of a source search its designs, and count the scores."""
    rows = np.ascontiguousarray(embeddings[kin.rows])  # (N, D), design by design
    groups = {count: _groups(kin.starts, kin.ends, count) for count in FIGURES}
    first = 0
    while first < len(kin.starts):
        start = kin.starts[first]
        last = max(first + 1, int(np.searchsorted(kin.ends, start + CHUNK, side="right")))
        related = [kin.related(design) for design in range(first, last)]
        cosines = rows[start : kin.ends[last - 1]] @ rows.T  # (n, N)
        # Of steps the largest is that of the largest score, and they are half as wide.
        block = np.clip((cosines + 1) * STEPS, 0, 2 * STEPS).astype(np.int16)
        for more, found in groups.items():
            if not len(found.starts):
                continue
            best = np.maximum.reduceat(block[:, found.rows], found.starts, axis=1)  # (n, K)
            for design in range(first, last):
                own = best[kin.starts[design] - start : kin.ends[design] - start]
                for less in FIGURES:
                    if less <= more and len(own) >= less:
                        many = len(own) // less
                        drawn = own[: many * less].reshape(many, less, -1).max(axis=1)  # (Q, K)
                        tally = tallies[less, more]
                        tally.add(source, design, drawn, found, related[design - first])
        first = last
