"""Hierarchical batches: some classes, some subclasses of each, some designs, some figures.

Random batches hold few pairs of one subclass, so the coarse levels of the loss would see nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
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

    Of D designs, with P = classes * subclasses * designs places in a batch, an epoch has
    ceil(D / P) batches of P designs each. Every design is in exactly one of them, but for the first
    designs of the first batch: they fill the last batch, so those few are seen twice. With fewer
    designs than places there is one batch, of all designs once. No batch has a design twice.

    Each subclass is dealt out in groups of up to `designs` designs (of even sizes, so that none is
    alone that need not be); each class in blocks of groups of different subclasses; the blocks of a
    class are spread evenly over the epoch, in its proportion. So, exactly:

    - A class has one block in a batch, or ceil(blocks / batches) if it has more blocks than there
      are batches (few classes, or a large one). A block that this keeps out comes first in the
      next batch, where its class may have one more; and more still where no other class is left.
    - A block holds at most one group of a subclass, and at most subclasses * designs designs. Where
      subclasses are small it holds more of them than `subclasses`; where a class has one subclass
      only, a block is one group. Places that remain free go to blocks of further classes.
    - The block that meets the end of a batch is cut; its rest begins the next batch.
    - A class or subclass of one design is seen once an epoch, as any design is.
    - A code of -1 (unknown) is a group like any other: the designs of a class whose subclass is
      unknown are one subclass of it, all designs of unknown class are one class.

    A design with fewer figures than asked gives all of them and then repeats: augmentation makes
    two copies of a figure differ.

    Args:
        codes: ``(N, L)``, coarse to fine, the last level being the design, which is known. The last
            three levels are used; with fewer, all belong to one class.
        shape: Of a batch.
        seed: Of the run.
        epoch: From 0. Equal (seed, epoch) give equal batches.
    """
    if not len(codes):
        return []
    rng = np.random.default_rng([seed, epoch, 1])
    _, first, design_of = np.unique(codes[:, -1], return_index=True, return_inverse=True)
    padded = np.hstack([np.zeros((len(codes), 2), codes.dtype), codes])[first]  # (D, L + 2)
    class_of, subclass_of = _numbered(padded[:, -3:-2]), _numbered(padded[:, -3:-1])  # (D,) each
    blocks = _blocks(class_of, subclass_of, shape, rng)
    batches = _pack(blocks, class_of, shape.classes * shape.subclasses * shape.designs, rng)
    figures = _Figures(design_of, rng)
    return [figures.of(designs, shape.figures) for designs in batches]


def _numbered(labels: Codes) -> RowNumbers:
    """Return ``(D,)`` numbers from 0 of equal rows of labels."""
    numbers: RowNumbers = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    return numbers


def _blocks(
    class_of: RowNumbers, subclass_of: RowNumbers, shape: BatchShape, rng: Generator
) -> list[RowNumbers]:
    """Return every design once, in blocks of one class, as `epoch_batches` describes them."""
    shuffled = rng.permutation(len(subclass_of))
    order = shuffled[np.argsort(subclass_of[shuffled], kind="stable")]  # (D,) by subclass
    counts = np.bincount(subclass_of)  # (subclasses,)
    parts = -(-counts // shape.designs)  # groups of each
    starts = np.cumsum(counts) - counts
    place = np.arange(len(order)) - np.repeat(starts, counts)  # (D,) within its subclass
    part = place * np.repeat(parts, counts) // np.repeat(counts, counts)  # (D,) even sizes
    groups = np.split(order, np.flatnonzero(np.diff(part) | np.diff(subclass_of[order])) + 1)
    heads = np.array([group[0] for group in groups])
    when = _spread(subclass_of[heads], rng.random(len(counts))[subclass_of[heads]])
    blocks: list[list[RowNumbers]] = []
    inside: set[int] = set()  # the subclasses of the last block
    size, last = 0, -1
    for number in np.lexsort([when, class_of[heads]]).tolist():
        group, subclass = groups[number], int(subclass_of[heads[number]])
        fits = size + len(group) <= shape.subclasses * shape.designs and subclass not in inside
        if not (fits and class_of[heads[number]] == last):
            blocks.append([])
            size, inside, last = 0, set(), class_of[heads[number]]
        blocks[-1].append(group)
        size += len(group)
        inside.add(subclass)
    return [np.concatenate(block) for block in blocks]


def _spread(label_of: RowNumbers, moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return when each item is due, 0 to 1: the n items of a label one in each nth of the time.

    Args:
        label_of: ``(N,)``, from 0.
        moment: ``(N,)``, 0 to 1: where in its nth each is due.
    """
    order = np.argsort(label_of, kind="stable")
    counts = np.bincount(label_of)
    place = np.empty(len(order))
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    due: NDArray[np.float64] = (place + moment) / counts[label_of]
    return due


def _pack(
    blocks: list[RowNumbers], class_of: RowNumbers, places: int, rng: Generator
) -> list[RowNumbers]:
    """Return the designs of each batch: blocks in the order in which they are due."""
    labels = np.array([class_of[block[0]] for block in blocks])
    count = -(-len(class_of) // places)
    limit = -(-np.bincount(labels) // count)  # blocks of a class in a batch
    order = np.argsort(_spread(labels, rng.random(len(labels))), kind="stable")
    queue = deque(blocks[number] for number in order)
    waiting: deque[RowNumbers] = deque()  # passed over in the batch before
    batches = []
    while waiting or queue:
        batch: list[RowNumbers] = []
        passed: deque[RowNumbers] = deque()
        used: Counter[int] = Counter()
        free, only_large = places, False
        while free and (waiting or queue or passed):
            if not (waiting or queue):  # only classes that have had their share are left
                waiting, passed, only_large = passed, waiting, True
            more = 1 if waiting else 0  # to catch up
            block = (waiting or queue).popleft()
            label = int(class_of[block[0]])
            if used[label] >= limit[label] + more and not only_large:
                passed.append(block)
                continue
            used[label] += 1
            batch.append(block[:free])
            if len(block) > free:
                waiting.appendleft(block[free:])
            free -= len(batch[-1])
        waiting.extend(passed)
        batches.append(np.concatenate(batch))
    if len(batches) > 1:  # batches share no design, so these are new to the last one
        batches[-1] = np.concatenate([batches[-1], batches[0][: places - len(batches[-1])]])
    return batches


class _Figures:
    """The figures of each design, in an order drawn for the epoch."""

    def __init__(self, design_of: RowNumbers, rng: Generator) -> None:
        shuffled = rng.permutation(len(design_of))
        self.rows = shuffled[np.argsort(design_of[shuffled], kind="stable")]  # (N,) by design
        self.counts = np.bincount(design_of)  # (D,)
        self.starts = np.cumsum(self.counts) - self.counts  # (D,)

    def of(self, designs: RowNumbers, count: int) -> RowNumbers:
        """Return `count` figures of each design: all different if it has as many."""
        place = np.arange(count) % self.counts[designs][:, None]  # (designs, count)
        rows: RowNumbers = self.rows[self.starts[designs][:, None] + place].reshape(-1)
        return rows
