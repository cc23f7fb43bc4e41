"""Find "FIG. 3" on a page, whatever its typeface and whichever way it is turned.

Captions say how many figures a sheet has and which way is up. No text is read: the first three
letters are compared with those of known captions, in four directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_retrieval.drawing.decode import Page
from edge_retrieval.drawing.ink import (
    Cells,
    Ints,
    Mask,
    Parts,
    boxes_of,
    gaps_between,
    grown,
    hull_of,
)
from edge_retrieval.drawing.letters import LETTERS
from edge_retrieval.drawing.raster import turned

SURE = 0.65
"""Least correlation with known letters for a word to be a caption."""

RARE = 0.75
"""The same, for a word turned in a way that drafters hardly use."""

USUAL_TURNS = (0, 270)  # upright, or read from the bottom to the top

LIKELY = 0.57
"""The same, for a word as high as a sure caption of the page and turned the same way."""

MOST_LIKELY = 4
"""Captions found with the help of one that is sure, itself included."""

CERTAIN = 0.85
"""The same, for a word within the outline of a drawing."""

ROOM = 0.25
"""No large part of a drawing comes nearer to a caption than this share of its letters' height."""

ROWS, COLUMNS = 16, 28  # of a letter template
WIDTHS = (1.25, 1.4, 1.55, 1.7, 1.85, 2.0, 2.2, 2.4, 2.65, 2.9, 3.2)  # of "FIG" in its own heights
GRAIN = 16  # columns of a strip for one height
_LONGEST = 52  # columns: the widest of WIDTHS
DARK = 160  # a pixel of a letter is darker


@dataclass(frozen=True)
class Caption:
    """A caption on a page.

    Attributes:
        box: (4,) in cells.
        turn: Degrees counter-clockwise by which the page must be turned to read it.
        likeness: Correlation with the known letters.
    """

    box: Ints
    turn: int
    likeness: float


def find_captions(page: Page, cells: Cells, parts: Parts) -> list[Caption]:
    """Return the captions of a page, best first, none overlapping another."""
    found = _compared(page, cells, _candidates(cells, parts))
    found.sort(key=lambda caption: -caption.likeness)
    found = [c for c in found if c.likeness >= CERTAIN or not _enclosed(c.box, cells, parts)]
    sure = [c for c in found if c.likeness >= (SURE if c.turn in USUAL_TURNS else RARE)]
    likely = [c for c in found if c.likeness < SURE and any(_alike(c, other) for other in sure)]
    kept = _apart(sure)
    more = _apart(kept + likely)
    if len(more) <= MOST_LIKELY * len(kept):  # else it is a pattern in the drawing
        kept = more
    return [_with_number(caption, parts.boxes) for caption in kept]


def _apart(captions: Sequence[Caption]) -> list[Caption]:
    """Return captions, best first, without those that touch a better one."""
    kept: list[Caption] = []
    for caption in captions:
        if not any(gaps_between(caption.box[None], other.box[None]).item() == 0 for other in kept):
            kept.append(caption)
    return kept


def _candidates(cells: Cells, parts: Parts) -> Ints:
    """Return `(N, 4)` boxes in cells of what may be a word: small parts in a line, alone."""
    least = 10 / cells.step
    most = min(160 / cells.step, 0.15 * max(cells.ink.shape))  # letters 10 to 160 px high
    sides = parts.boxes[:, 2:] - parts.boxes[:, :2]
    small = (sides.max(1) <= 4.5 * most) & (sides.min(1) <= most)
    letters = parts.where(small)
    total = np.zeros((cells.ink.shape[0] + 1, cells.ink.shape[1] + 1), dtype=np.int32)
    ink = (cells.ink & ~letters).astype(np.int32)
    np.cumsum(ink.cumsum(0, dtype=np.int32), axis=1, out=total[1:, 1:])
    found = [np.zeros((0, 4), dtype=np.int64)]
    for reach in (1, 2, 3):
        wide = np.pad(letters, reach)  # so that growth is not cut off at the page's edge
        boxes = boxes_of(grown(wide, reach)) + np.array([0, 0, -2 * reach, -2 * reach])
        sides = boxes[:, 2:] - boxes[:, :2]
        low, high = sides.min(1), sides.max(1)
        likely = (low >= least) & (low <= most) & (high >= 1.2 * low) & (high <= 9 * low)
        likely &= high <= 0.3 * max(cells.ink.shape)
        room = np.maximum(1, np.rint(ROOM * low)).astype(np.int64)[:, None] * [-1, -1, 1, 1]
        around = _count(total, boxes + room)
        found.append(boxes[likely & (around <= 0.03 * 2 * sides.sum(1) * room[:, 2])])
    # Asked for the places as well, it does not load numpy.ma.
    return np.unique(np.concatenate(found), axis=0, return_index=True)[0]


def _enclosed(box: Ints, cells: Cells, parts: Parts) -> bool:
    """Whether one part of the drawing, much larger than a box, goes round it on all four sides."""
    x0, y0, x1, y1 = box
    sides = parts.boxes[:, 2:] - parts.boxes[:, :2]
    large = sides.min(1) >= 2 * min(x1 - x0, y1 - y0)
    large &= ((parts.boxes[:, :2] < box[:2]) & (parts.boxes[:, 2:] > box[2:])).all(1)
    for part in np.flatnonzero(large):
        mask = parts.labels == part
        beams = mask[y0:y1, :x0], mask[y0:y1, x1:], mask[:y0, x0:x1], mask[y1:, x0:x1]
        if all(beam.any() for beam in beams):
            return True
    return False


def _count(total: Ints, boxes: Ints) -> Ints:
    """Return `(N,)`: how many cells of ink lie in each box, from running totals."""
    height, width = total.shape
    x0, x1 = boxes[:, 0].clip(0, width - 1), boxes[:, 2].clip(0, width - 1)
    y0, y1 = boxes[:, 1].clip(0, height - 1), boxes[:, 3].clip(0, height - 1)
    counts: Ints = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return counts


def _alike(caption: Caption, other: Caption) -> bool:
    """Whether two captions are turned the same way and equally high."""
    low, high = sorted(int((c.box[2:] - c.box[:2]).min()) for c in (caption, other))
    return caption.turn == other.turn and high <= 1.2 * low + 1


def _with_number(caption: Caption, boxes: Ints) -> Caption:
    """Stretch a caption over the number that follows it in the same line."""
    box = caption.box.copy()
    along, onward = {0: (0, True), 180: (0, False), 90: (1, True), 270: (1, False)}[caption.turn]
    across = 1 - along
    height = int(box[across + 2] - box[across])
    inside = (boxes[:, across] >= box[across] - 0.35 * height) & (
        boxes[:, across + 2] <= box[across + 2] + 0.35 * height
    )
    line = boxes[inside & (boxes[:, along + 2] - boxes[:, along] <= 1.5 * height)]
    while len(line):
        gap = line[:, along] - box[along + 2] if onward else box[along] - line[:, along + 2]
        after = (gap < 1.2 * height) & (gap > -0.2 * height)
        if not after.any():
            break
        longer = hull_of(np.vstack([box[None], line[after]]))
        if longer[along + 2] - longer[along] > 9 * height:
            break
        box, line = longer, line[~after]
    return Caption(box=box, turn=caption.turn, likeness=caption.likeness)


def _compared(page: Page, cells: Cells, boxes: Ints) -> list[Caption]:
    """Return what looks like a caption, each turned the way in which it looks more like one."""
    width, height = page.raster.size
    words = []
    for number, (x0, y0, x1, y1) in enumerate((boxes * cells.step).tolist()):
        seen = page.raster.window((x0, y0, min(x1, width), min(y1, height)))
        inked = Image.fromarray((np.asarray(seen) < DARK) * np.uint8(255))
        turn = 90 if seen.height > seen.width else 0
        word = _word(turned(inked, turn))
        if word is not None:
            ends, in_heights = word
            words += [
                (number, turn, ends[0], in_heights),
                (number, turn + 180, ends[1], in_heights),
            ]
    best: dict[int, tuple[float, int]] = {}
    likenesses = _likenesses([word[2] for word in words], [word[3] for word in words])
    for (number, turn, _, _), likeness in zip(words, likenesses, strict=True):
        if likeness >= LIKELY and likeness > best.get(number, (0.0, 0))[0]:
            best[number] = likeness, turn
    return [
        Caption(box=boxes[number], turn=turn, likeness=likeness)
        for number, (likeness, turn) in sorted(best.items())
    ]


def _word(word: Image.Image) -> tuple[NDArray[np.float32], float] | None:
    """Return the start of a word and that of it turned over, and its width in its own heights.

    The starts are `(2, ROWS, _LONGEST)`.
    """
    frame = _frame(np.asarray(word).view(np.bool_))
    if frame is None or frame[3] - frame[1] < 6:
        return None
    width = (frame[2] - frame[0]) / (frame[3] - frame[1])
    across = min(round(width * GRAIN), _LONGEST)
    if across < 2:
        return None
    resized = word.resize((max(2, round(width * GRAIN)), ROWS), Image.Resampling.BOX, box=frame)
    seen = np.asarray(resized)
    ends = np.zeros((2, ROWS, _LONGEST), dtype=np.float32)
    ends[0, :, :across] = seen[:, :across]
    ends[1, :, :across] = seen[::-1, ::-1][:, :across]
    return ends, width


def _likenesses(words: Sequence[NDArray[np.float32]], widths: Sequence[float]) -> list[float]:
    """Correlate the starts of words, at several widths, with the known letters."""
    if not words:
        return []
    smooth, starts, letters = _matrices()
    views = (smooth @ np.stack(words))[:, None] @ starts  # (words, widths, ROWS, COLUMNS)
    flat = views.reshape(len(words), len(WIDTHS), -1)
    flat -= flat.mean(2, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=2, keepdims=True), 1e-6)
    found = (flat @ letters.T).max(2)  # (words, widths)
    fitting = np.array(WIDTHS) <= 1.15 * np.array(widths)[:, None]
    fitting[:, 0] |= ~fitting.any(1)
    likenesses: list[float] = np.where(fitting, found, -1.0).max(1).tolist()
    return likenesses


def _frame(inked: Mask) -> tuple[int, int, int, int] | None:
    """Return the box of a word's ink but a hundredth at each end: a speck must not stretch it."""
    edges = []
    for axis in (0, 1):
        total = np.add.reduce(inked, axis, dtype=np.int32).cumsum()
        if not total[-1]:
            return None
        ends = np.searchsorted(total, [0.007 * total[-1], 0.993 * total[-1]], side="right")
        edges.append((int(ends[0]), min(int(ends[1]) + 1, len(total))))
    (x0, x1), (y0, y1) = edges
    return x0, y0, x1, y1


@lru_cache(maxsize=1)
def _matrices() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return what blurs rows, what takes the starts of a strip, and the letters to compare with.

    `(ROWS, ROWS)`, `(widths, strip, COLUMNS)` and `(T, ROWS * COLUMNS)`; the last of mean
    0 and length 1.
    """

    def blur(size: int) -> NDArray[np.float32]:
        places = np.arange(size)
        near = np.clip(places[:, None] + [-1, 0, 1], 0, size - 1)
        out = np.zeros((size, size), dtype=np.float32)
        for place in range(size):
            np.add.at(out[place], near[place], np.float32(1 / 3))
        return out

    starts = []
    for share in WIDTHS:
        edges = np.linspace(0, share * GRAIN, COLUMNS + 1)
        low = np.maximum(edges[:-1][None], np.arange(_LONGEST)[:, None])
        high = np.minimum(edges[1:][None], np.arange(1, _LONGEST + 1)[:, None])
        mean = np.maximum(high - low, 0) / (edges[1] - edges[0])  # (strip, COLUMNS)
        starts.append((mean @ blur(COLUMNS).T).astype(np.float32))
    values = np.array([[int(digit, 16) for digit in word] for word in LETTERS], dtype=np.float32)
    values -= values.mean(1, keepdims=True)
    letters = values / np.linalg.norm(values, axis=1, keepdims=True)
    return blur(ROWS), np.stack(starts), letters
