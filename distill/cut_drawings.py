"""What an export needs of a run's drawings: some to calibrate, some to compare, some as golden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.config import TrainConfig
from distill.data import Drawings, Scheme, joined, normalised
from distill.drawing_cache import DAMAGED, CutSource, Stack, read_cut
from distill.model import preprocessing_of
from edge_retrieval.arrays import Images
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.drawing.fit import MARGIN
from edge_retrieval.errors import ConfigError

GOLDEN = 16
LEAST_COMPARED, MOST_COMPARED = 100, 500


@dataclass(frozen=True)
class CutDrawings:
    """The figures that a run trained on and validated with, as its cache keeps them.

    Attributes:
        squares: ``(N, S, S)`` uint8, what `fit` normalises.
        classes: ``(N,)`` code of the coarsest label.
        training: Rows that were trained on.
        held_out: Rows that were not.
        levels: Names, coarse to fine, of the deepest label tree.
        preprocessing: Of the run.
    """

    squares: Stack
    classes: NDArray[np.int32]
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    levels: tuple[str, ...]
    preprocessing: Preprocessing

    @classmethod
    def read(cls, run: Path, config: TrainConfig) -> CutDrawings:
        """Read the cache of a run and split it as the run did; `ConfigError` if it is not there."""
        parts: list[CutSource] = []
        names: list[str] = []
        for folder in sorted(path for path in (run / "cache").glob("*") if _is_cache(path)):
            part = _read(folder)
            if part.fitted.shape[1:] == (config.size, config.size):
                parts.append(part)
                names.append(folder.name)
        preprocessing = preprocessing_of(config)
        drawings = joined(
            parts,
            names,
            preprocessing,
            labelled=not config.teacher,  # as the trainer does
            one_scheme=config.one_scheme,
        )
        if drawings is None:
            raise ConfigError(
                f"{run / 'cache'}: no cut drawings to calibrate and check with",
                hint=f"cut them again: edge-ret train --resume -o {run} with the run's sources",
            )
        sides = drawings.split(config.held_out, config.seed)
        training, held_out = (_rows(side) for side in sides)
        levels = max((scheme.levels for scheme in drawings.schemes), key=len)
        classes = _classes(drawings)
        return cls(drawings.fitted, classes, training, held_out, levels, preprocessing)

    def images(self, rows: NDArray[np.int64]) -> Images:
        """Return ``(N, C, S, S)`` float32, bit for bit as `fit` gave them."""
        return normalised(self.squares[rows], self.preprocessing)

    def golden(self) -> NDArray[np.uint8]:
        """Return figures, held out if there are any, that `fit` turns into just these squares.

        They are cut to what `fit` leaves inside its margin, so it does not scale them again.
        """
        rows = self.held_out if len(self.held_out) else self.training
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, GOLDEN).astype(np.int64))]
        edge = max(1, round(self.preprocessing.size * MARGIN))
        figures = np.ascontiguousarray(self.squares[rows][:, edge:-edge, edge:-edge])
        again = fit_batch(list(figures), self.preprocessing)
        assert np.array_equal(again, self.images(rows)), "fit and its MARGIN disagree"
        return figures

    def to_compare(self, *, without: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return rows for the agreement: held out; if they are few, trained on as well.

        Args:
            without: Places in `training` that calibrated.
        """
        rest = np.delete(self.training, without)
        rows = self.held_out
        if len(rows) < LEAST_COMPARED:
            rows = np.concatenate([rows, rest[: LEAST_COMPARED - len(rows)]])
        if len(rows) < LEAST_COMPARED:
            rows = np.concatenate([rows, self.training[without][: LEAST_COMPARED - len(rows)]])
        return rows[np.unique(np.linspace(0, len(rows) - 1, MOST_COMPARED).astype(np.int64))]


def _classes(drawings: Drawings) -> NDArray[np.int32]:
    """Return ``(N,)`` codes of the coarsest level, each source having its own classes."""
    classes = np.empty(len(drawings), np.int32)
    used = 0
    for scheme in drawings.schemes:
        coarsest = np.unique(scheme.codes[:, 0], return_inverse=True)[1].reshape(-1)
        classes[scheme.rows] = used + coarsest
        used += int(coarsest.max()) + 1
    return classes


def _rows(side: Sequence[Scheme]) -> NDArray[np.int64]:
    """Return the row numbers of all schemes of one side, in order."""
    return np.sort(np.concatenate([np.empty(0, np.int64), *(scheme.rows for scheme in side)]))


def _is_cache(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read(folder: Path) -> CutSource:
    try:
        return read_cut(folder)
    except DAMAGED as error:
        raise ConfigError(
            f"{folder}: damaged: {error}", hint="delete it, then: edge-ret train --resume"
        ) from error
