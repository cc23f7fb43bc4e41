"""Hierarchical batches: some classes, some subclasses of each, some designs, some figures.

Random batches hold few pairs of one subclass, so the coarse levels of the loss would see nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Codes

RowNumbers = NDArray[np.int64]


class BatchShape(NamedTuple):
    """How many classes; subclasses of each; designs of each subclass; figures of each design."""

    classes: int
    subclasses: int
    designs: int
    figures: int


def epoch_batches(codes: Codes, shape: BatchShape, *, seed: int, epoch: int) -> list[RowNumbers]:
    """Return the batches of one epoch: row numbers, the figures of a design beside one another.

    Every design is in at least one batch of the epoch, and at most once in a batch. Classes and
    subclasses are drawn in proportion to the designs that the epoch has not seen yet. Where a class
    has fewer subclasses, or a subclass fewer designs, than asked, the free places go to unseen
    designs of any class, then to seen ones, so that all batches are of one size (smaller only if
    there are fewer designs than places). A design with fewer figures than asked gives all of them
    and then repeats: augmentation makes two copies of a figure differ.

    Args:
        codes: ``(N, L)``, coarse to fine, the last level being the design. The last three levels
            are used; with fewer, all belong to one class.
        shape: Of a batch.
        seed: Of the run.
        epoch: From 0. Equal (seed, epoch) give equal batches.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    tree = _Tree(codes, rng)
    batches = []
    while tree.unseen.any():
        picked = tree.pick(shape)
        batches.append(np.concatenate([tree.figures(design, shape.figures) for design in picked]))
    return batches


class _Tree:
    """The designs of one scheme, and which of them this epoch has not seen yet."""

    def __init__(self, codes: Codes, rng: np.random.Generator) -> None:
        self.rng = rng
        _, first, design_of = np.unique(codes[:, -1], return_index=True, return_inverse=True)
        order = np.argsort(design_of, kind="stable")
        counts = np.bincount(design_of)
        self.rows = np.split(order, np.cumsum(counts)[:-1])  # design -> its row numbers
        padded = np.hstack([np.zeros((len(codes), 2), codes.dtype), codes])[first]
        self.class_of = padded[:, -3]  # (designs,)
        self.subclass_of = padded[:, -2]  # (designs,)
        self.unseen = np.ones(len(first), dtype=bool)  # (designs,)

    def pick(self, shape: BatchShape) -> RowNumbers:
        """Return the designs of one batch and mark them as seen."""
        everything = np.arange(len(self.unseen))
        picked: list[RowNumbers] = []
        for in_class in self._groups(everything, self.class_of, shape.classes):
            for in_subclass in self._groups(in_class, self.subclass_of, shape.subclasses):
                picked.append(self._designs(in_subclass, shape.designs))
        chosen = np.concatenate(picked)
        places = shape.classes * shape.subclasses * shape.designs
        left = np.setdiff1d(everything, chosen)
        chosen = np.concatenate([chosen, self._designs(left, places - len(chosen))])
        self.unseen[chosen] = False
        return chosen

    def figures(self, design: int, count: int) -> RowNumbers:
        """Return `count` figures of a design: all different if it has as many."""
        rows = self.rng.permutation(self.rows[design])
        return np.resize(rows, count)

    def _groups(
        self, designs: RowNumbers, label_of: NDArray[np.int32], count: int
    ) -> list[RowNumbers]:
        """Return up to `count` groups of `designs` by label: those with unseen designs first."""
        labels, group_of = np.unique(label_of[designs], return_inverse=True)
        unseen = np.bincount(group_of, weights=self.unseen[designs])  # (labels,)
        # The least of exponential times of these rates is a draw in proportion to the rates.
        times = self.rng.exponential(size=len(labels)) / np.maximum(unseen, 1e-9)
        return [designs[group_of == group] for group in np.argsort(times)[:count]]

    def _designs(self, designs: RowNumbers, count: int) -> RowNumbers:
        """Return up to `count` of `designs`: unseen ones first."""
        shuffled = self.rng.permutation(designs)
        return shuffled[np.argsort(~self.unseen[shuffled], kind="stable")][:count]
