"""Made embeddings of any number, as like those of a trained encoder as can be told by numbers.

The bundle `small`, on 804 figures of real patents, was measured: which share of its rows' variance
the leading directions hold (`HELD`), how long their mean is (0.51), and how near a figure's
neighbours are (cosines at rank 1, 5, 10, 20 of 0.89, 0.73, 0.68, 0.62; any two figures 0.26). Made
rows have the same: designs of eight views, some of which are near-duplicates, in classes of about
600 designs, rows of a class together, as `edge-ret register compact` leaves them. `flat` spreads
the variance over all directions instead: harder than any encoder measured here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings

HELD = ((0, 0.0), (4, 0.306), (8, 0.517), (16, 0.788), (24, 0.934), (32, 0.981), (48, 0.995),
        (64, 0.998), (128, 1.0))  # fmt: skip
"""Directions, and the share of the variance that so many of them hold."""
VIEWS, DESIGNS_A_CLASS = 8, 600
MEAN, CLASS, DESIGN, VIEW = 0.265, 0.25, 0.285, 0.2
"""Shares of a row's squared length before it is made 1."""
ALIKE, UNLIKE = 0.2, 1.4  # by so much the views of a design differ, times the share of a view
AT_ONCE = 100_000


@dataclass(frozen=True)
class MadeVectors:
    """A generator of rows; each call of `rows` or `queries` gives the same again.

    Args:
        count: N.
        flat: Spread the variance over all directions.
        seed: Of everything.
    """

    count: int
    flat: bool = False
    seed: int = 0
    dim: int = 128

    def _base(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (designs, D), what a design's views share, and (D, D), the shape of noise."""
        rng = np.random.default_rng([self.seed, 0])
        at, held = zip(*HELD, strict=True)
        share = np.diff(np.interp(np.linspace(0, 128, self.dim + 1), at, held))
        share = np.full(self.dim, 1 / self.dim) if self.flat else share
        turn = np.linalg.qr(rng.standard_normal((self.dim, self.dim)))[0]
        shape = (np.sqrt(share)[:, None] * turn.T).astype(np.float32)
        designs = -(-self.count // VIEWS)
        classes = max(8, designs // DESIGNS_A_CLASS)
        of_class = np.sort(rng.integers(0, classes, designs))
        centres = np.float32(CLASS**0.5) * self._noise(rng, classes, shape)
        base = np.float32(DESIGN**0.5) * self._noise(rng, designs, shape) + centres[of_class]
        return base + (MEAN**0.5 * turn[:, -1]).astype(np.float32), shape

    def _noise(
        self, rng: np.random.Generator, many: int, shape: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        return rng.standard_normal((many, self.dim), np.float32) @ shape

    def _views(
        self, rng: np.random.Generator, shared: NDArray[np.float32], shape: NDArray[np.float32]
    ) -> Embeddings:
        size = rng.uniform(ALIKE, UNLIKE, (len(shared), 1)) * VIEW**0.5
        rows = shared + size.astype(np.float32) * self._noise(rng, len(shared), shape)
        scaled: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return scaled

    def rows(self) -> Iterator[Embeddings]:
        """Yield all rows, ``(n, D)`` at a time."""
        base, shape = self._base()
        rng = np.random.default_rng([self.seed, 1])
        for start in range(0, self.count, AT_ONCE):
            numbers = np.arange(start, min(start + AT_ONCE, self.count)) // VIEWS
            yield self._views(rng, base[numbers], shape)

    def queries(self, many: int) -> Embeddings:
        """Return ``(many, D)``: more views, of designs chosen at random."""
        base, shape = self._base()
        rng = np.random.default_rng([self.seed, 2])
        return self._views(rng, base[rng.integers(0, len(base), many)], shape)
