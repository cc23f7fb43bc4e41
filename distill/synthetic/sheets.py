"""Pages as an office publishes them: one to three figures each, with captions, in one bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.synthetic.design import SyntheticDesign, lines_of
from distill.synthetic.dice import generator
from distill.synthetic.geometry import Points
from distill.synthetic.mesh import Flags
from distill.synthetic.raster import ink_strokes, scanned, write_text
from distill.synthetic.strokes import Stroke
from edge_retrieval.sources.design import Box

PAGE = (1200, 1600)
"""Width and height of a page in pixels."""

EDGE = 110
"""Empty border of a page in pixels."""

CAPTION_HEIGHT = 34
"""Height of a caption's letters in pixels."""

CAPTION_ROOM = 110
"""Height that is kept free for a caption and the white around it, in pixels."""


@dataclass(frozen=True)
class MadeSheet:
    """One page.

    Attributes:
        ink: (1600, 1200) True where there is ink.
        views: What its figures show, top to bottom.
        boxes: Where the ink of each figure is, without caption.
    """

    ink: Flags
    views: tuple[str, ...]
    boxes: tuple[Box, ...]


def paginate(views: Sequence[str], rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Divide views over pages of one to three figures; FIG. 1 most often stands alone."""
    pages: list[tuple[str, ...]] = []
    done = 0
    while done < len(views):
        most = 1 if not pages and rng.random() < 0.6 else int(rng.integers(1, 4))
        pages.append(tuple(views[done : done + most]))
        done += most
    return pages


def make_sheet(
    design: SyntheticDesign, views: Sequence[str], *, first: int, page: int, seed: int
) -> MadeSheet:
    """Draw one page.

    Args:
        design: From `make_design`.
        views: One to three views, top to bottom.
        first: Number of the first figure, from 1.
        page: Number of the page in the design, from 1.
        seed: Of the whole set.
    """
    style = design.style
    rng = generator(seed, design.family.key, design.index, "sheet", page)
    width, height = PAGE
    slot = (height - 2 * EDGE) // len(views)
    ink = np.zeros((height, width), bool)
    boxes = []
    for row, view in enumerate(views):
        top = EDGE + row * slot
        room = (width - 2 * EDGE, slot - CAPTION_ROOM)
        strokes = _fitted(lines_of(design, view, frame=min(room), seed=seed), room, rng)
        shift = np.array([EDGE, top])
        drawn = [Stroke(stroke.points + shift, stroke.width) for stroke in strokes]
        figure = ink_strokes(drawn, PAGE, thinnest=2)
        if style.scan:
            figure = _scanned_near(figure, style.scan, style.roughness, rng)
        boxes.append(ink_box(figure))
        ink |= figure
        at = (width / 2 + rng.normal(0, 40), boxes[-1].y1 + rng.uniform(24, 40))
        caption = f"{style.caption}{first + row}"
        write_text(ink, caption, at, CAPTION_HEIGHT, weight=int(rng.integers(0, 2)))
    return MadeSheet(ink, tuple(views), tuple(boxes))


def _fitted(
    strokes: Sequence[Stroke], room: tuple[int, int], rng: np.random.Generator
) -> list[Stroke]:
    """Scale strokes of the unit frame into a room of that many pixels and centre them."""
    together: Points = np.concatenate([stroke.points for stroke in strokes])
    low, high = together.min(0), together.max(0)
    largest = float(np.min(np.array(room) / np.maximum(high - low, 1e-3)))
    # Elongated views do not grow beyond what the frame's own scale would give by much.
    scale = min(largest, 1.3 * max(room)) * rng.uniform(0.8, 0.98)
    middle = np.array(room) / 2
    pen = min(scale, 1000.0) ** 0.5 * 1000**0.5  # small figures keep readable lines
    return [Stroke((s.points - (low + high) / 2) * scale + middle, s.width * pen) for s in strokes]


def _scanned_near(
    figure: Flags, strength: float, roughness: float, rng: np.random.Generator
) -> Flags:
    """Scan the part of a page that holds a figure; specks stay within it."""
    box = ink_box(figure)
    part = (slice(max(box.y0 - 4, 0), box.y1 + 4), slice(max(box.x0 - 4, 0), box.x1 + 4))
    result = figure.copy()
    result[part] = scanned(figure[part], strength, roughness, 0.8, rng)
    return result


def ink_box(ink: Flags) -> Box:
    """Return the rectangle of all ink of a bitmap that has some."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
