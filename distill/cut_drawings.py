"""What an export needs of a run's drawings: some to calibrate, some to compare, some as golden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.augment import Squares
from distill.config import TrainConfig
from distill.data import Drawings, Scheme, joined, normalised
from distill.drawing_cache import Stack
from distill.model import preprocessing_of
from distill.run_cache import Parts, read_run_cache
from distill.run_folder import read_own_split
from edge_retrieval.arrays import Images
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.drawing.fit import MARGIN
from edge_retrieval.errors import ConfigError
from edge_retrieval.split import Keep

GOLDEN, MOST_GOLDEN = 16, 200
"""Golden figures, and those that they are chosen from."""
MOST_GATED = 500
LEAST_GATED = 50
"""Fewer drawings than these show no drop of a hundredth."""


class ToGate(NamedTuple):
    """Drawings that an INT8 network is judged on.

    Attributes:
        images: ``(K, C, S, S)`` float32.
        schemes: Their labels; rows index into `images`.
        squares: ``(K, S, S)`` uint8, the same drawings to look at.
        designs: ``(K,)`` numbers of their designs, as the source has them.
        held_out: Whether none of them was trained on.
        note: What a person should know of the choice; empty if there is nothing.
    """

    images: Images
    schemes: tuple[Scheme, ...]
    squares: Squares
    designs: tuple[str, ...]
    held_out: bool
    note: str


@dataclass(frozen=True)
class CutDrawings:
    """The figures that a run trained on and validated with, as its cache keeps them.

    Attributes:
        squares: ``(N, S, S)`` uint8, what `fit` normalises.
        masters: ``(N, M, M)`` uint8, what augmentation starts from.
        classes: ``(N,)`` code of the coarsest label; each source has its own.
        training: Rows that were trained on.
        held_out: Rows that were not.
        training_schemes: Labels of those rows.
        held_schemes: Of these: of the drawings given to validate with, if there were any.
        designs: ``(N,)`` numbers of the designs.
        levels: Names, coarse to fine, of the deepest label tree that was trained on.
        preprocessing: Of the run.
    """

    squares: Stack
    masters: Stack
    classes: NDArray[np.int32]
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    training_schemes: tuple[Scheme, ...]
    held_schemes: tuple[Scheme, ...]
    designs: tuple[str, ...]
    levels: tuple[str, ...]
    preprocessing: Preprocessing

    @classmethod
    def read(cls, run: Path, config: TrainConfig) -> CutDrawings:
        """Read the run's own sources in its cache and split them as the run did.

        Raises:
            ConfigError: They are not there, or damaged.
        """
        cache = read_run_cache(run, config.size)
        split = read_own_split(run)
        trains, validates = (None, None) if split is None else split.sides()
        labelled = not config.teacher  # as the trainer
        drawings = _joined(cache.training, config, labelled=labelled, keep=trains)
        if drawings is None:
            raise ConfigError(
                f"{run / 'cache'}: no cut drawings with labels to calibrate and check with",
                hint="give a run that was trained on designs with a class",
            )
        squares, masters, classes = drawings.fitted, drawings.masters, _classes(drawings.schemes)
        designs = drawings.designs
        others = _joined(cache.validation, config, labelled=True, keep=validates)
        if others is None:
            training, held = drawings.split(config.held_out, config.seed)
        else:
            start = len(drawings)
            training = drawings.schemes
            held = tuple(replace(one, rows=one.rows + start) for one in others.schemes)
            squares = squares.followed_by(others.fitted)
            masters = masters.followed_by(others.masters)
            designs += others.designs
            own = _classes(others.schemes) + classes.max() + 1
            classes = np.concatenate([classes, own])
        levels = max((scheme.levels for scheme in drawings.schemes), key=len)
        return cls(
            squares, masters, classes, _rows(training), _rows(held), training, held, designs,
            levels, drawings.preprocessing,
        )  # fmt: skip

    def images(self, rows: NDArray[np.int64]) -> Images:
        """Return ``(N, C, S, S)`` float32, bit for bit as `fit` gave them."""
        return normalised(self.squares[rows], self.preprocessing)

    def golden(
        self, *, usual: Callable[[Images], NDArray[np.bool_]] | None = None
    ) -> NDArray[np.uint8]:
        """Return figures, held out if there are any, that `fit` turns into just these squares.

        They are cut to what `fit` leaves inside its margin, so it does not scale them again.

        Args:
            usual: Tells which drawings of ``(N, C, S, S)`` may be golden: one that drives the
                network out of all ranges would set the cosine asked of a device far too low.
        """
        rows = self.held_out if len(self.held_out) else self.training
        if usual is not None:
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_GOLDEN).astype(np.int64))]
            rows = rows[usual(self.images(rows))]
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, GOLDEN).astype(np.int64))]
        edge = max(1, round(self.preprocessing.size * MARGIN))
        figures = np.ascontiguousarray(self.squares[rows][:, edge:-edge, edge:-edge])
        again = fit_batch(list(figures), self.preprocessing)
        assert np.array_equal(again, self.images(rows)), "fit and its MARGIN disagree"
        return figures

    def to_gate(
        self, limit: int = MOST_GATED, *, without: NDArray[np.int64] | None = None
    ) -> ToGate:
        """Return drawings to judge a network on: whole designs, held out.

        Where these are too few to judge on, designs that were trained on but did not calibrate join
        them, and where there are too few of those as well, designs that did; `note` says so. Every
        source gives as many as the others if it can, designs of several figures first: only those
        have a figure to be found.

        Args:
            limit: Most figures.
            without: Places in `training` that calibrated; None: none did.
        """
        calibrated = self.training[[] if without is None else without]
        chosen = _some(self.held_schemes, limit)
        held = _count(chosen)
        for spared in (True, False):  # calibrated ones only where there are no others
            if (left := min(LEAST_GATED, limit) - _count(chosen)) > 0:
                trained = [_trained(one, calibrated, spared) for one in self.training_schemes]
                chosen = (*chosen, *_some(trained, limit - _count(chosen) if spared else left))
        note = ""
        if more := _count(chosen) - held:
            note = f"{held or 'no'} drawings are held out: judged on {more} that were trained on"
            used = int(np.isin(_rows(chosen), calibrated).sum())
            note += f", {used} of which calibrated" if used else ""
        rows = _rows(chosen)
        return ToGate(
            self.images(rows),
            tuple(replace(one, rows=np.searchsorted(rows, one.rows)) for one in chosen),
            self.squares[rows],
            tuple(self.designs[row] for row in rows),
            held_out=not note,
            note=note,
        )


def _joined(
    parts: Parts, config: TrainConfig, *, labelled: bool, keep: Keep | None
) -> Drawings | None:
    if not parts:
        return None
    names, sources = zip(*parts, strict=True)
    preprocessing = preprocessing_of(config)
    return joined(
        sources, names, preprocessing, labelled=labelled, one_scheme=config.one_scheme, keep=keep
    )


def _some(schemes: Sequence[Scheme], limit: int) -> tuple[Scheme, ...]:
    """Return whole designs of each scheme, at most `limit` figures of all, shared evenly."""
    chosen: list[Scheme] = []
    for left, scheme in enumerate(sorted(schemes, key=lambda one: len(one.rows))):
        part = _designs(scheme, limit // (len(schemes) - left))
        limit -= len(part.rows)
        chosen.append(part)
    return tuple(scheme for scheme in chosen if len(scheme.rows))


def _designs(scheme: Scheme, limit: int) -> Scheme:
    """Return designs of a scheme while they fit: those with several figures first, seed 0."""
    design = scheme.codes[:, -1]  # (N,)
    codes, sizes = np.unique(design, return_counts=True)
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(sizes[order] == 1, kind="stable")]
    order = order[sizes[order] <= limit]  # one that is larger must not end the row
    taken = order[np.cumsum(sizes[order]) <= limit]
    return scheme.only(np.isin(design, codes[taken]))


def _trained(scheme: Scheme, calibrated: NDArray[np.int64], spared: bool) -> Scheme:
    """Return designs none of whose figures calibrated, or the others."""
    design = scheme.codes[:, -1]  # (N,)
    used = np.unique(design[np.isin(scheme.rows, calibrated)])
    kept = np.isin(design, used) != spared
    return replace(scheme.only(kept), name=f"{scheme.name}, trained on")


def _count(schemes: Sequence[Scheme]) -> int:
    return sum(len(scheme.rows) for scheme in schemes)


def _classes(schemes: Sequence[Scheme]) -> NDArray[np.int32]:
    """Return ``(N,)`` codes of the coarsest level, each source having its own classes."""
    classes = np.empty(_count(schemes), np.int32)
    used = 0
    for scheme in schemes:
        coarsest = np.unique(scheme.codes[:, 0], return_inverse=True)[1].reshape(-1)
        classes[scheme.rows] = used + coarsest
        used += int(coarsest.max()) + 1
    return classes


def _rows(side: Sequence[Scheme]) -> NDArray[np.int64]:
    """Return the row numbers of all schemes of one side, in order."""
    return np.sort(np.concatenate([np.empty(0, np.int64), *(scheme.rows for scheme in side)]))
