"""Connected parts of a page -> figures: which parts belong together, and which are no figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.drawing.caption import Caption
from edge_retrieval.drawing.furniture import furniture
from edge_retrieval.drawing.ink import (
    Cells,
    Ints,
    Mask,
    Parts,
    gaps_between,
    grown,
    hull_of,
    parts_of,
)
from edge_retrieval.sources.design import Box

GAP = 0.016
"""Ink closer than this share of the page is one figure: 5 mm on a sheet of paper."""

SPECK = 0.008
"""A lone group of ink shorter than this share of the page is scan noise."""


def group_parts(cells: Cells, parts: Parts, captions: Sequence[Caption]) -> list[Ints]:
    """Return, for each figure, the numbers of its parts; in no order.

    Args:
        cells: The reduced page.
        parts: Its connected parts.
        captions: They are left out, and their number is the number of figures, if it can be.
    """
    drawn = ~captioned(parts, captions) & ~furniture(cells, parts)
    if not drawn.any():  # what looked like a caption is the drawing
        drawn, captions = ~drawn, ()
    page = scale_of(cells, captions)
    reach = max(1, round(GAP * page / 2))
    groups = _without_specks(parts, _near(parts, drawn, reach), page)
    while len(groups) < len(captions) and reach > 1:
        reach = max(1, reach // 2)
        groups = _without_specks(parts, _near(parts, drawn, reach), page)
    if len(groups) > max(1, len(captions)):
        whole = _merged(parts, groups, lambda hulls: _shares(hulls) > 0.8)
        groups = whole if len(whole) >= len(captions) else groups
        groups = _without_words(parts, groups, page)
    if len(captions) == 1:
        return [np.concatenate(groups)]
    if len(groups) > len(captions) > 1:
        return _one_a_caption(parts, groups, captions)
    return groups if captions else _with_loose_parts(parts, groups, page)


def scale_of(cells: Cells, captions: Sequence[Caption]) -> float:
    """Return the long side of the page in cells, also of one that was cropped.

    Captions tell: their letters are about 5 mm high, a 50th of the page.
    """
    long = float(max(cells.ink.shape))
    if not captions:
        return long
    heights = [int((caption.box[2:] - caption.box[:2]).min()) for caption in captions]
    return min(max(long, 45 * float(np.median(heights))), 4 * long)


def captioned(parts: Parts, captions: Sequence[Caption]) -> Mask:
    """Return `(N,)`: whether a part belongs to a caption."""
    centre = (parts.boxes[:, :2] + parts.boxes[:, 2:]) / 2
    found: Mask = np.zeros(len(parts), dtype=bool)
    for caption in captions:
        low, high = caption.box[:2], caption.box[2:]
        found |= ((centre >= low) & (centre <= high)).all(1)
    return found


def _near(parts: Parts, drawn: Mask, reach: int) -> list[Ints]:
    """Join parts whose ink is at most 2 * reach cells apart."""
    areas = parts_of(grown(parts.where(drawn), reach)).labels.ravel()
    owner = np.where(drawn, areas[parts.first], -1)  # a part lies in one area
    return [np.flatnonzero(owner == area) for area in range(int(owner.max(initial=-1)) + 1)]


def _sides(parts: Parts, groups: Sequence[Ints]) -> Ints:
    """Return `(N, 2)`: width and height of groups in cells."""
    hulls = hulls_of(parts, groups)
    return hulls[:, 2:] - hulls[:, :2]


def _without_specks(parts: Parts, groups: list[Ints], page: float) -> list[Ints]:
    """Leave out lone scan noise, unless nothing else is there."""
    long = _sides(parts, groups).max(1)
    kept = long > max(SPECK * page, 2.0)
    return [group for group, keep in zip(groups, kept, strict=True) if keep] or groups


def _without_words(parts: Parts, groups: list[Ints], page: float) -> list[Ints]:
    """Leave out what is small beside the figures and looks like a word that nobody could read."""
    sides = _sides(parts, groups)
    long, short = sides.max(1), sides.min(1)
    count = np.array([len(group) for group in groups])
    small = (short < 0.035 * page) & (long < 0.12 * page) & (long < long.max() / 6)
    line = (short < 0.06 * page) & (long < 0.2 * page) & (long < long.max() / 2.5)
    word = small | (line & (long >= 2 * short) & (count >= 4))
    return [group for group, drop in zip(groups, word, strict=True) if not drop] or groups


def _one_a_caption(parts: Parts, groups: list[Ints], captions: Sequence[Caption]) -> list[Ints]:
    """Join groups so that each caption has one: the nearest large one, and what is near that."""
    hulls = hulls_of(parts, groups)
    long = (hulls[:, 2:] - hulls[:, :2]).max(1)
    gaps = gaps_between(np.stack([c.box for c in captions]), hulls).astype(float)
    gaps[:, long < 0.2 * long.max()] += gaps.max() + 1  # a loose part only if nothing else is left
    seeds: dict[int, int] = {}
    for flat in np.argsort(gaps, axis=None, kind="stable"):
        caption, group = divmod(int(flat), len(groups))
        if caption not in seeds and group not in seeds.values():
            seeds[caption] = group
    member = {group: seed for seed, group in enumerate(seeds.values())}
    between = gaps_between(hulls, hulls).astype(float)
    while len(member) < len(groups):
        inside = list(member)
        outside = [g for g in range(len(groups)) if g not in member]
        table = between[np.ix_(outside, inside)]
        row, column = divmod(int(table.argmin()), len(inside))
        member[outside[row]] = member[inside[column]]
    return [
        np.concatenate([groups[g] for g in range(len(groups)) if member[g] == seed])
        for seed in range(len(seeds))
    ]


def _with_loose_parts(parts: Parts, groups: list[Ints], page: float) -> list[Ints]:
    """Join groups whose boxes overlap, and loose parts to the figure that they are near."""

    def belong(hulls: Ints) -> Mask:
        long = (hulls[:, 2:] - hulls[:, :2]).max(1)
        loose = long[:, None] < 0.25 * long[None]
        near = gaps_between(hulls, hulls) < 2.5 * GAP * page
        together: Mask = (_shares(hulls) > 0.25) | (loose & near)
        return together

    return _merged(parts, groups, belong)


def _shares(hulls: Ints) -> NDArray[np.float64]:
    """Return `(N, N)`: how much of the smaller of two boxes lies in the other."""
    common = np.minimum(hulls[:, None, 2:], hulls[None, :, 2:]) - np.maximum(
        hulls[:, None, :2], hulls[None, :, :2]
    )
    areas = (hulls[:, 2:] - hulls[:, :2]).prod(1)
    shares: NDArray[np.float64] = np.clip(common, 0, None).prod(-1) / np.minimum(
        areas[:, None], areas[None]
    )
    return shares


def _merged(parts: Parts, groups: list[Ints], belong: Callable[[Ints], Mask]) -> list[Ints]:
    """Join the nearest two groups that belong together until none do.

    Args:
        belong: From `(N, 4)` boxes of groups to `(N, N)`, whether two belong together.
    """
    groups = list(groups)
    hulls = hulls_of(parts, groups)
    while len(groups) > 1:
        joined = belong(hulls)
        joined |= joined.T
        np.fill_diagonal(joined, False)
        if not joined.any():
            break
        cost = np.where(joined, gaps_between(hulls, hulls) - _shares(hulls), np.inf)
        a, b = sorted(divmod(int(cost.argmin()), len(groups)))
        groups[a] = np.concatenate([groups[a], groups[b]])
        hulls[a] = hull_of(hulls[[a, b]])
        del groups[b]
        hulls = np.delete(hulls, b, axis=0)
    return groups


def hulls_of(parts: Parts, groups: Sequence[Ints]) -> Ints:
    """Return `(N, 4)` boxes around groups of parts."""
    if not groups:
        return np.zeros((0, 4), dtype=np.int64)
    return np.stack([hull_of(parts.boxes[group]) for group in groups])


def all_ink(cells: Cells) -> Mask:
    """Return `(h, w)`: the cells of ink but lone specks; all of it if there is nothing else."""
    page = float(max(cells.ink.shape))
    reach = max(1, round(GAP * page / 2))
    least = max(SPECK * page, 2.0)
    areas = parts_of(grown(cells.ink, reach))
    if ((areas.boxes[:, 2:] - areas.boxes[:, :2]).max(1, initial=0) > least + 2 * reach).all():
        return cells.ink  # the ink of an area is at most as much smaller as it was grown
    rows, columns = np.nonzero(cells.ink)
    area = areas.labels[rows, columns]
    kept = np.maximum(_extent(rows, area, len(areas)), _extent(columns, area, len(areas))) > least
    if not kept.any():
        return cells.ink
    keep: Mask = np.zeros_like(cells.ink)
    keep[rows, columns] = kept[area]
    return keep


def _extent(places: Ints, group: NDArray[np.integer[Any]], count: int) -> Ints:
    """Return `(count,)`: from the first to the last place of each group, both included."""
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    np.minimum.at(low, group, places)
    np.maximum.at(high, group, places)
    extent: Ints = high + 1 - low
    return extent


def reading_order(boxes: Sequence[Box], turn: int) -> list[int]:
    """Return the order in which figures are read: rows from the top, each from the left.

    Args:
        boxes: On the sheet.
        turn: Degrees counter-clockwise by which the sheet is turned to be read.
    """
    left = []
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        seen = {0: (x0, y0, x1, y1), 90: (y0, -x1, y1, -x0), 180: (-x1, -y1, -x0, -y0)}
        left.append((*seen.get(turn, (-y1, x0, -y0, x1)), number))
    left.sort(key=lambda box: box[1] + box[3])
    order: list[int] = []
    while left:
        top = left[0]
        row = [
            b
            for b in left
            if min(b[3], top[3]) - max(b[1], top[1]) > 0.5 * min(b[3] - b[1], top[3] - top[1])
        ]
        order += [b[4] for b in sorted(row, key=lambda box: box[0])]
        left = [b for b in left if b not in row]
    return order
