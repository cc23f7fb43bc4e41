"""Ink on a reduced page: cells, connected parts, distances. Nothing here knows what a figure is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.drawing.decode import Page
from edge_retrieval.drawing.raster import Ints, Mask

CELLS = 400
"""A page is reduced to about this many cells on its long side: a 300-dpi page by 8."""

__all__ = ["Cells", "Ints", "Mask", "Parts", "cells_of", "parts_of"]


@dataclass(frozen=True)
class Cells:
    """A page reduced by a whole number.

    Attributes:
        step: Pixels of the unpacked page on each side of a cell.
        ink: `(h, w)` bool: the cell holds ink, and not only a lone pixel of it.
    """

    step: int
    ink: Mask


@dataclass(frozen=True)
class Parts:
    """Connected parts of a mask, numbered 0 to N - 1.

    Attributes:
        labels: `(h, w)` int32; -1 where the mask is empty.
        boxes: `(N, 4)` int64: x0, y0, x1, y1; right and bottom exclusive.
        first: `(N,)` int64: the first cell by rows, as its place in the flattened mask.
    """

    labels: NDArray[np.int32]
    boxes: Ints
    first: Ints

    def __len__(self) -> int:
        return len(self.boxes)

    def where(self, chosen: Mask) -> Mask:
        """Return the mask of some parts: `chosen` is `(N,)`."""
        mask: Mask = np.append(chosen, False)[self.labels]  # the last is of no part, label -1
        return mask


def cells_of(page: Page) -> Cells:
    """Reduce a page and say where its ink is."""
    step = max(1, round(max(page.raster.size) / CELLS))
    return Cells(step=step, ink=page.raster.ink(step))


def parts_of(mask: Mask) -> Parts:
    """Label the 8-connected parts of a mask, in the order of their first cell by rows.

    Runs of cells are joined instead of cells: a page has some thousand runs, and each step below is
    one numpy call over all of them.
    """
    width = mask.shape[1]
    starts, ends, labels, first = _runs(mask)
    drawn = np.full(mask.shape, -1, dtype=np.int32)
    drawn[mask] = np.repeat(labels, ends - starts)
    rows, lefts = np.divmod(starts[first], width + 2)
    boxes = _boxes(starts, ends, labels, len(first), width)
    return Parts(labels=drawn, boxes=boxes, first=rows * width + lefts - 1)


def boxes_of(mask: Mask) -> Ints:
    """Return the `(N, 4)` boxes of `parts_of`, without the rest."""
    starts, ends, labels, first = _runs(mask)
    return _boxes(starts, ends, labels, len(first), mask.shape[1])


def _runs(mask: Mask) -> tuple[Ints, Ints, Ints, Ints]:
    """Return where runs start and end, their parts' numbers, and the first run of each part.

    Places are those of a mask with a column of paper on either side.
    """
    height, width = mask.shape
    wide = width + 2  # no run touches the next row's
    padded = np.zeros((height, wide), dtype=np.bool_)
    padded[:, 1:-1] = mask
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]  # (R,) ends exclusive
    labels, first = _join(starts, ends, wide)
    return starts, ends, labels, first


def _boxes(starts: Ints, ends: Ints, labels: Ints, count: int, width: int) -> Ints:
    rows, lefts = np.divmod(starts, width + 2)
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, -1
    np.minimum.at(boxes[:, 0], labels, lefts - 1)
    np.minimum.at(boxes[:, 1], labels, rows)
    np.maximum.at(boxes[:, 2], labels, lefts - 1 + ends - starts)
    np.maximum.at(boxes[:, 3], labels, rows + 1)
    return boxes


def _join(starts: Ints, ends: Ints, wide: int) -> tuple[Ints, Ints]:
    """Number runs so that those that touch, also at a corner, share a number.

    Returns:
        `(R,)` numbers, and `(N,)` the first run of each.
    """
    first = np.searchsorted(ends, starts + wide, side="left")
    last = np.searchsorted(starts, ends + wide, side="right")
    touching = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(starts)), touching)
    offset = np.arange(len(above)) - np.repeat(np.cumsum(touching) - touching, touching)
    below = np.repeat(first, touching) + offset
    root = np.arange(len(starts))
    while True:
        low = np.minimum(root[above], root[below])
        joined = root.copy()
        np.minimum.at(joined, root[above], low)
        np.minimum.at(joined, root[below], low)
        while not np.array_equal(joined, deeper := joined[joined]):
            joined = deeper
        if np.array_equal(joined, root):
            break
        root = joined
    roots = np.flatnonzero(root == np.arange(len(root)))  # the first of each part is its root
    numbers = np.empty(len(root), dtype=np.int64)
    numbers[roots] = np.arange(len(roots))
    return numbers[root], roots


def grown(mask: Mask, reach: int) -> Mask:
    """Grow a mask by `reach` cells to the left, right, top and bottom (a square)."""
    out = mask
    for axis in (0, 1):
        done = 0
        while done < reach:
            by = min(reach - done, done + 1)  # doubling: each pass grows what has grown
            shifted = out.copy()
            ahead = [slice(None)] * 2
            behind = [slice(None)] * 2
            ahead[axis], behind[axis] = slice(by, None), slice(None, -by)
            shifted[tuple(ahead)] |= out[tuple(behind)]
            shifted[tuple(behind)] |= out[tuple(ahead)]
            out = shifted
            done += by
    return out


def gaps_between(boxes: Ints, others: Ints) -> Ints:
    """Return `(N, M)` gaps between boxes: the larger of the two axes'; 0 where they meet."""
    apart = np.maximum(
        boxes[:, None, :2] - others[None, :, 2:], others[None, :, :2] - boxes[:, None, 2:]
    )
    gaps: Ints = np.maximum(apart.max(-1), 0)
    return gaps


def hull_of(boxes: Ints) -> Ints:
    """Return the (4,) box around boxes."""
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
