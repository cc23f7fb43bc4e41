"""What a page carries besides drawings: the office's header line, borders, rules.

Sheets are often cropped to their ink, and then a drawing may look like any of these; so each is
looked for only where a whole page leaves it: with a margin, near the page's edge.
"""

from __future__ import annotations

import numpy as np

from edge_retrieval.drawing.ink import Cells, Ints, Mask, Parts, hull_of

BAND = 0.1
"""Headers and rules stand within this share of the page from its edge."""

LINE = 0.03
"""A line of text is not higher than this share of the page."""


def furniture(cells: Cells, parts: Parts) -> Mask:
    """Return `(N,)`: whether a part is a border, a rule, or in a header or footer line.

    All False if nothing else were left.
    """
    found: Mask = np.zeros(len(parts), dtype=bool)
    if not len(parts):
        return found
    height, width = cells.ink.shape
    found = _borders(parts, width, height) | _rules(parts, width, height)
    for upside_down in (False, True):
        boxes = parts.boxes.copy()
        if upside_down:
            boxes[:, [1, 3]] = height - parts.boxes[:, [3, 1]]
        found |= _header(boxes, ~found, width, height)
    return found if not found.all() else np.zeros_like(found)


def _borders(parts: Parts, width: int, height: int) -> Mask:
    """Frames: as large as the page but for a margin, with all their ink at their edges."""
    found: Mask = np.zeros(len(parts), dtype=bool)
    if not 1.2 < max(width, height) / min(width, height) < 1.6:
        return found  # not the shape of a sheet of paper
    margin = 0.005 * max(width, height)
    thick = max(2, round(0.015 * max(width, height)))
    sides = parts.boxes[:, 2:] - parts.boxes[:, :2]
    wide = (sides >= 0.8 * np.array([width, height])).all(1)
    inner = (parts.boxes[:, :2] >= margin).all(1)
    inner &= (parts.boxes[:, 2:] <= np.array([width, height]) - margin).all(1)
    for part in np.flatnonzero(wide & inner):
        x0, y0, x1, y1 = parts.boxes[part]
        inside = parts.labels[y0 + thick : y1 - thick, x0 + thick : x1 - thick] == part
        found[part] = not inside.any()
    return found


def _rules(parts: Parts, width: int, height: int) -> Mask:
    """Straight lines nearly as long as the page, near its edge, on a page with margins."""
    hull = hull_of(parts.boxes)
    long = max(width, height)
    if min(hull[0], hull[1], width - hull[2], height - hull[3]) < 0.01 * long:
        return np.zeros(len(parts), dtype=bool)
    sides = parts.boxes[:, 2:] - parts.boxes[:, :2]
    thin = sides.min(1) <= max(2, 0.005 * long)
    across = sides[:, 0] >= sides[:, 1]
    length = np.where(across, sides[:, 0] / width, sides[:, 1] / height)
    middle = (parts.boxes[:, :2] + parts.boxes[:, 2:]) / 2 / np.array([width, height])
    place = np.where(across, middle[:, 1], middle[:, 0])
    rules: Mask = thin & (length >= 0.8) & ((place < BAND) | (place > 1 - BAND))
    return rules


def _header(boxes: Ints, free: Mask, width: int, height: int) -> Mask:
    """One line of many letters across the top of the page, with blank paper below it."""
    long = max(width, height)
    none: Mask = np.zeros(len(boxes), dtype=bool)
    band = free & (boxes[:, 3] <= BAND * height)
    rest = free & ~band
    if band.sum() < 6 or not rest.any():
        return none
    hull = hull_of(boxes[band])
    sides = boxes[band, 2:] - boxes[band, :2]
    letters = (
        np.median(sides[:, 1]) >= max(2.0, 0.005 * long)
        and np.median(sides[:, 0]) <= 8 * np.median(sides[:, 1])
        and hull[3] - hull[1] <= max(3.0, LINE * long)
        and hull[2] - hull[0] >= 0.5 * width
        and boxes[rest, 1].min() - hull[3] >= 0.01 * long
    )
    return band if letters else none
