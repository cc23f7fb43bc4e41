"""What an export needs of a run's drawings: some to calibrate, some to compare, some as golden."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.config import TrainConfig
from distill.data import LEVELS, Drawings, Scheme, normalised
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

    squares: NDArray[np.uint8]
    classes: NDArray[np.int32]
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    levels: tuple[str, ...]
    preprocessing: Preprocessing

    @classmethod
    def read(cls, run: Path, config: TrainConfig) -> CutDrawings:
        """Read the cache of a run and split it as the run did; `ConfigError` if it is not there."""
        squares: list[NDArray[np.uint8]] = []
        paths: list[list[str]] = []
        for file in sorted((run / "cache").glob("*.npz")):
            fitted, labels = _read_cache(file)
            if fitted.shape[1:] == (config.size, config.size):
                squares.append(fitted)
                paths += [[file.stem, *path] for path in labels]  # each source has its own classes
        if not paths:
            raise ConfigError(
                f"{run / 'cache'}: no cut drawings to calibrate and check with",
                hint=f"cut them again: edge-ret train --resume -o {run} with the run's sources",
            )
        names = sorted({tuple(path[:2]) for path in paths})
        codes = np.array([names.index(tuple(path[:2])) for path in paths], np.int32)
        everything = np.concatenate(squares)
        preprocessing = preprocessing_of(config)
        rows = np.arange(len(paths), dtype=np.int64)
        scheme = Scheme("all", ("class",), codes[:, None], rows)
        designs = tuple(path[-1] for path in paths)
        drawings = Drawings(everything, everything, (scheme,), designs, (), preprocessing)
        sides = drawings.split(config.held_out, config.seed)
        training, held_out = (side[0].rows if side else rows[:0] for side in sides)
        depth = max(len(path) for path in paths) - 1
        levels = LEVELS if depth == len(LEVELS) else _levels(depth)
        return cls(everything, codes, training, held_out, levels, preprocessing)

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


def _levels(depth: int) -> tuple[str, ...]:
    """Name the levels of a tree that is not class, subclass, design; see `distill.data`."""
    return (*(f"level{n + 1}" for n in range(depth - 1)), LEVELS[-1])


def _read_cache(file: Path) -> tuple[NDArray[np.uint8], list[list[str]]]:
    """Read the fitted squares and the label paths of one source, and not its large masters."""
    try:
        # Opened here: numpy leaves a file open that is no archive.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            return stored["fitted"], json.loads(stored["said"].tobytes())["paths"]
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{file}: damaged: {error}", hint="delete it, then: edge-ret train --resume"
        ) from error
