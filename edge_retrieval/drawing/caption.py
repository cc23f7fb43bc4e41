"""Find "FIG. 3" on a page, whatever its typeface and whichever way it is turned.

Captions say how many figures a sheet has and which way is up. No text is read: the first three
letters are compared with those of known captions, in four directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edge_retrieval.drawing.decode import Page
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
from edge_retrieval.drawing.letters import LETTERS

LIKENESS = 0.65
"""Least correlation with known letters for a word to be a caption."""

MOST_CANDIDATES = 200
ROWS, COLUMNS = 16, 28  # of a letter template
WIDTHS = (1.25, 1.4, 1.55, 1.7, 1.85, 2.0, 2.2, 2.4, 2.65, 2.9, 3.2)  # of "FIG" in its own heights
_TRANSPOSE = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


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


def turned(image: Image.Image, degrees: int) -> Image.Image:
    """Turn an image counter-clockwise by 0, 90, 180 or 270 degrees."""
    return image.transpose(_TRANSPOSE[degrees]) if degrees else image


def find_captions(page: Page, cells: Cells, parts: Parts) -> list[Caption]:
    """Return the captions of a page, best first, none overlapping another."""
    least = 10 / cells.step
    most = min(160 / cells.step, 0.15 * max(cells.ink.shape))  # letters 10 to 160 px high
    sides = parts.boxes[:, 2:] - parts.boxes[:, :2]
    small = (sides.max(1) <= 4.5 * most) & (sides.min(1) <= most)
    if not small.any():
        return []
    letters: Mask = np.zeros(cells.ink.shape, dtype=bool)
    held = parts.labels >= 0
    letters[held] = small[parts.labels[held]]
    found: list[Caption] = []
    for reach in (1, 2, 3):
        words = parts_of(grown(letters, reach)).boxes
        if not len(words):
            continue
        shrunk = words + np.array([reach, reach, -reach, -reach])
        sides = shrunk[:, 2:] - shrunk[:, :2]
        low, high = sides.min(1), sides.max(1)
        likely = (low >= least) & (low <= most) & (high >= 1.2 * low) & (high <= 9 * low)
        for box in shrunk[likely][:MOST_CANDIDATES]:
            caption = _compare(page, cells, box)
            if caption is not None:
                found.append(caption)
    found.sort(key=lambda caption: -caption.likeness)
    kept: list[Caption] = []
    for caption in found:
        if not any((gaps_between(caption.box[None], other.box[None]) == 0).all() for other in kept):
            kept.append(_with_number(caption, parts.boxes[small]))
    return kept


def _with_number(caption: Caption, boxes: Ints) -> Caption:
    """Stretch a caption over the number that follows it in the same line."""
    box = caption.box.copy()
    along = 0 if caption.turn in (0, 180) else 1
    across = 1 - along
    height = int(box[across + 2] - box[across])
    for _ in range(6):
        inside = (boxes[:, across] >= box[across] - 0.35 * height) & (
            boxes[:, across + 2] <= box[across + 2] + 0.35 * height
        )
        gap = np.maximum(boxes[:, along] - box[along + 2], box[along] - boxes[:, along + 2])
        short = boxes[:, along + 2] - boxes[:, along] <= 2.2 * height
        near = inside & short & (gap < 1.3 * height)
        stretched = hull_of(np.vstack([box[None], boxes[near]]))
        if np.array_equal(stretched, box) or stretched[along + 2] - stretched[along] > 9 * height:
            break
        box = stretched
    return Caption(box=box, turn=caption.turn, likeness=caption.likeness)


def _compare(page: Page, cells: Cells, box: Ints) -> Caption | None:
    x0, y0, x1, y1 = (int(v) * cells.step for v in box)
    crop = page.image.crop((x0, y0, min(x1, page.image.width), min(y1, page.image.height)))
    sideways = crop.height > crop.width
    best, turn = 0.0, 0
    for degrees in (90, 270) if sideways else (0, 180):
        likeness = _likeness(turned(crop, degrees))
        if likeness > best:
            best, turn = likeness, degrees
    return Caption(box=box, turn=turn, likeness=best) if best >= LIKENESS else None


def _likeness(word: Image.Image) -> float:
    """Correlate the start of a word, at several widths, with the known letters."""
    inked = word.point(lambda v: 255 if v < 160 else 0)
    frame = inked.getbbox()
    if frame is None:
        return 0.0
    inked = inked.crop(frame)
    width, height = inked.size
    if height < 6:
        return 0.0
    starts = []
    for share in WIDTHS:
        end = round(share * height)
        if end <= 1.15 * width:
            cut = inked.crop((0, 0, min(end, width), height))
            starts.append(_unit(cut.resize((COLUMNS, ROWS), Image.Resampling.BOX)))
    if not starts:
        return 0.0
    return float((np.stack(starts) @ _templates().T).max())  # (widths, templates)


def _unit(image: Image.Image) -> NDArray[np.float32]:
    """Blur, subtract the mean, scale to length 1; `(ROWS * COLUMNS,)`."""
    values = np.asarray(image.filter(ImageFilter.BoxBlur(1)), dtype=np.float32).ravel()
    values = values - values.mean()
    return values / np.float32(max(float(np.linalg.norm(values)), 1e-6))


@lru_cache(maxsize=1)
def _templates() -> NDArray[np.float32]:
    """Return the letters to compare with, mean 0 and length 1; `(T, ROWS * COLUMNS)`."""
    values = np.array([[int(digit, 16) for digit in word] for word in LETTERS], dtype=np.float32)
    values -= values.mean(1, keepdims=True)
    return values / np.linalg.norm(values, axis=1, keepdims=True)
