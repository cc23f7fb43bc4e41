"""Each new design, with all its views, against every design of a portfolio: exactly, in chunks.

Of a view f let m_f be the best cosine to any figure of the portfolio's design. The score of the
pair is (max m_f + mean m_f) / 2, its strength that of max m_f, the best pair of figures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.calibration import Strength
from edge_retrieval.design_number import spelled_once
from edge_retrieval.errors import RegisterError
from edge_retrieval.filters import Filters
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import DesignRecord, FigureRecord, Register
from edge_retrieval.register.columns import sheet_mark
from edge_retrieval.sources import Design, Note, Problem
from edge_retrieval.watch.arriving import Arrived
from edge_retrieval.watch.threshold import Threshold, require_strengths, strength_by

CHUNK = 4_194_304
"""Cosines held at once: 16 MB."""
SLACK = 1e-5
"""A float32 product is off by less; float64 decides."""

Pair = tuple[str, str]
"""The numbers of a new design and of the portfolio's, spelled as `spelled_once` does."""


class View(NamedTuple):
    """A view of a new design and the figure of the portfolio's design that is most like it.

    Attributes:
        view: Of the new design, from 1.
        figure: Of the portfolio's.
        score: Their cosine.
        matches: Whether this view alone would have the pair told.
        picture: Small PNG of the view.
        other: Small PNG of the figure.
    """

    view: int
    figure: FigureRecord
    score: float
    matches: bool
    picture: bytes
    other: bytes


@dataclass(frozen=True)
class Close:
    """A new design that comes close to one of the portfolio.

    Attributes:
        new: The new design.
        own: The portfolio's.
        score: (max + mean) / 2 of the views' cosines.
        strength: Of the best pair of figures; None: it was not asked for and nobody measured it.
        views: All views of the new design, in its order.
    """

    new: Design | DesignRecord
    own: DesignRecord
    score: float
    strength: Strength | None
    views: tuple[View, ...]

    @property
    def best(self) -> View:
        """The best pair of figures."""
        return max(self.views, key=lambda view: view.score)

    @property
    def key(self) -> Pair:
        """What tells this pair from others."""
        return spelled_once(self.new.number), spelled_once(self.own.number)

    @property
    def order(self) -> tuple[bool, float, float, Pair]:
        """Strongest first: what is beyond all that was measured, then by strength, then by score.

        Beyond it shares say how much was measured, not how rare the pair is: there scores decide.
        """
        told = self.strength or Strength(0.0, True)
        return not told.beyond, 0.0 if told.beyond else told.share, -self.score, self.key


@dataclass
class Watched:
    """What was found.

    Attributes:
        close: Pairs that are told, strongest first; those told before among them.
        designs: New designs that were compared.
        figures: Their views.
        pairs: Pairs of designs that were compared.
        same: Pairs left out, since both are the same design: the same number, or the same sheet.
        own_designs: Designs of the portfolio that were compared with.
        own_figures: Their figures.
        front_pages: Of new designs, left out.
        untold: Pairs compared, of so many figures that nothing as rare as the threshold was ever
            measured.
        rarest: The rarest that can be told of any of these.
        notes: What deserves a look.
        problems: What could not be read.
    """

    close: list[Close] = field(default_factory=list)
    designs: int = 0
    figures: int = 0
    pairs: int = 0
    same: int = 0
    own_designs: int = 0
    own_figures: int = 0
    front_pages: int = 0
    untold: int = 0
    rarest: Strength | None = None
    notes: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def watch(
    arriving: Iterable[Arrived | Problem],
    portfolio: Register,
    threshold: Threshold,
    *,
    filters: Filters | None = None,
    known: Collection[Pair] = (),
    track: Track = silent,
) -> Watched:
    """Find the new designs that come close to one of a portfolio.

    New designs are let go once they are compared: memory holds the pairs that are told.

    Args:
        arriving: From `from_source` or `from_register`.
        portfolio: An open register.
        threshold: What is close.
        filters: Which designs of the portfolio to compare with; None: all that live.
        known: Pairs that were told before: their views are not looked up again.
        track: Shows progress.

    Raises:
        RegisterError: The portfolio is empty, or a vector of it damaged.
        BundleError: A strength is asked for, and its bundle tells none.
        TaxonomyError: No design of it is in such a class.
    """
    if threshold.share is not None:
        bundle = portfolio.bundle
        require_strengths(bundle.calibration, bundle.dim, str(portfolio.folder))
    against = _Portfolio(portfolio, threshold, filters or Filters())
    found = Watched(own_designs=len(against.designs), own_figures=len(against.rows))
    close: dict[Pair, Close] = {}
    for item in track(arriving, "Watching"):
        if isinstance(item, Note):
            found.notes.append(item)
        elif isinstance(item, Problem):
            found.problems.append(item)
        else:
            for pair in against.close_to(item, found, known):
                before = close.get(pair.key)  # a design may come twice, with other sheets
                if before is None or pair.order < before.order:
                    close[pair.key] = pair
    found.close = sorted(close.values(), key=lambda pair: pair.order)
    return found


class _Portfolio:
    """The designs to compare with, their rows side by side."""

    def __init__(self, register: Register, threshold: Threshold, filters: Filters) -> None:
        columns = register.columns
        chosen = filters.choose(columns, where=register.folder)
        rows = register.living_rows() if chosen.rows is None else chosen.rows
        if not len(rows):
            raise RegisterError(
                f"{register.folder}: the portfolio has no design {filters.text}".rstrip(),
                hint=f"add designs: edge-ret index DESIGNS -o {register.folder}",
            )
        register.check_batches_of(0, len(register.vectors))
        order = np.argsort(columns.design_of[rows], kind="stable")
        self.rows = rows[order]  # (n,)
        self.designs, self.starts, self.counts = np.unique(
            columns.design_of[self.rows], return_index=True, return_counts=True
        )  # (d,) each
        self._register = register
        self._threshold = threshold
        self._strength = strength_by(register.bundle.calibration, register.bundle.dim)
        self._least = lru_cache(maxsize=None)(self._least_cosine)
        self._rarest = lru_cache(maxsize=None)(partial(self._strength, 1.0))
        # Rows that lie side by side, as in most registers, need not be copied.
        self._first = int(self.rows[0])
        self._in_line = bool((np.diff(self.rows) == 1).all())
        self._place: dict[str, list[int]] = {}  # number, spelled once -> places in `designs`
        for place, design in enumerate(self.designs.tolist()):
            number = spelled_once(columns.number(design))
            self._place.setdefault(number, []).append(place)
        self._marks = columns.sheet_of[self.rows]  # (n,)
        self._kinds, self._kind_of = np.unique(self.counts, return_inverse=True)

    def close_to(self, new: Arrived, found: Watched, known: Collection[Pair]) -> Iterator[Close]:
        """Yield the pairs of a new design that are told; count in `found` what was done."""
        views = len(new.embeddings)
        same = self._same(new)
        least = np.array([self._least(views, int(count)) for count in self._kinds])
        best = self._best(new.embeddings)  # (d,)
        near = best >= least[self._kind_of] - SLACK
        near[same] = False
        found.designs += 1
        found.figures += views
        found.front_pages += new.front_pages
        found.same += len(same)
        found.pairs += len(self.designs) - len(same)
        self._count_untold(views, same, found)
        for place in np.flatnonzero(near).tolist():
            pair = self._pair(new, place, known)
            if pair is not None:
                yield pair

    def _best(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Return ``(d,)``: the largest cosine of any view to any figure of each design."""
        best = np.empty(len(self.designs), np.float32)
        ends = self.starts + self.counts
        size = max(1, CHUNK // len(embeddings))
        first = 0
        while first < len(best):
            # At least one design, however many figures it has.
            last = max(first + 1, int(np.searchsorted(ends, self.starts[first] + size, "right")))
            begin, end = int(self.starts[first]), int(ends[last - 1])
            rows: slice | NDArray[np.int64] = self.rows[begin:end]
            if self._in_line:
                rows = slice(self._first + begin, self._first + end)
            vectors = self._register.vectors[rows]
            highest = (embeddings @ vectors.T).max(axis=0)  # (end - begin,)
            best[first:last] = np.maximum.reduceat(highest, self.starts[first:last] - begin)
            first = last
        return best

    def _same(self, new: Arrived) -> list[int]:
        """Return the places of designs that are the new one itself."""
        same = set(self._place.get(spelled_once(new.design.number), ()))
        marks = np.array([sheet_mark(sheet) for sheet in new.sheets], np.uint64)
        for row in np.flatnonzero(np.isin(self._marks, marks)).tolist():
            same.add(int(np.searchsorted(self.starts, row, "right")) - 1)
        return sorted(same)

    def _pair(self, new: Arrived, place: int, known: Collection[Pair]) -> Close | None:
        """Compare two designs once more, in float64; None: they are not close."""
        start, count = int(self.starts[place]), int(self.counts[place])
        rows = self.rows[start : start + count]
        views = new.embeddings.astype(np.float64)  # (F, D)
        figures = self._register.vectors[rows].astype(np.float64)  # (count, D)
        cosines = np.clip(views @ figures.T, -1.0, 1.0)  # (F, count)
        best = cosines.max(axis=1)  # (F,)
        score = float((best.max() + best.mean()) / 2)
        strength = self._strength(float(best.max()), len(views), count)
        if not self._threshold.reached(score, strength):
            return None
        own = self._register.design(self._register.columns.number(int(self.designs[place])))
        pair = Close(new.design, own, score, strength, ())
        if pair.key in known:
            return pair
        records = self._register.figures(rows)
        least = self._least(len(views), count)
        told = []
        for view, (cosine, figure) in enumerate(zip(best, cosines.argmax(axis=1), strict=True)):
            record = records[int(figure)]
            picture, other = new.picture(view), self._register.picture(record.row)
            matches = bool(cosine >= min(least, best.max()))
            told.append(View(view + 1, record, float(cosine), matches, picture, other))
        return Close(new.design, own, score, strength, tuple(told))

    def _least_cosine(self, views: int, count: int) -> float:
        return self._threshold.least_cosine(lambda cosine: self._strength(cosine, views, count))

    def _count_untold(self, views: int, same: list[int], found: Watched) -> None:
        """Count the pairs of which nothing as rare as the threshold was measured."""
        counts = np.bincount(np.delete(self._kind_of, same), minlength=len(self._kinds))
        for kind, many in zip(self._kinds.tolist(), counts.tolist(), strict=True):
            rarest = self._rarest(views, kind)
            if many and self._threshold.beyond_telling(rarest):
                found.untold += many
                if found.rarest is None or (rarest is not None and rarest < found.rarest):
                    found.rarest = rarest
