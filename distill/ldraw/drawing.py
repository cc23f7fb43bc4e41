"""One figure of an LDraw part, by the pen, the paper and the scanner of the made drawings."""

from __future__ import annotations

from functools import partial

from distill.ldraw.lines import part_lines
from distill.ldraw.rounding import rounded
from distill.ldraw.surface import Surface
from distill.synthetic.design import inked, resolution_for, wobbled
from distill.synthetic.dice import Dice, generator
from distill.synthetic.strokes import VIEWS, Stroke, Style, figure_strokes, make_style
from edge_retrieval.arrays import Pixels
from edge_retrieval.errors import ConfigError


def style_of(part: str, seed: int, *key: object) -> Style:
    """Return the hand that draws a part, or, with a `key`, another one."""
    return make_style(Dice.of(seed, "ldraw", part, "style", *key))


def draw_part(
    surface: Surface, view: str, style: Style, *, part: str, size: int, seed: int
) -> Pixels:
    """Draw one figure.

    Args:
        surface: The part, from `build_surface`.
        view: One of `VIEWS`.
        style: The hand that draws.
        part: Its name: chance hangs on it.
        size: Pixels a side, at least 32.
        seed: Of the whole set.

    Returns:
        (size, size) grey values, 0 ink, 255 paper.

    Raises:
        ConfigError: There is no such view, or the size is too small.
    """
    if view not in VIEWS:
        raise ConfigError(f"no view {view!r}", hint=f"choose from {', '.join(VIEWS)}")
    if size < 32:
        raise ConfigError(f"a figure of {size} pixels shows nothing", hint="use 32 or more")
    rng = generator(seed, "ldraw", part, view, "lines")
    find = partial(part_lines, surface=surface)
    strokes = figure_strokes(surface.mesh, style, view, rng, resolution_for(size), find)
    strokes = [Stroke(rounded(stroke.points), stroke.width) for stroke in strokes]
    if style.wobble and strokes:
        strokes = wobbled(strokes, style.wobble, rng)
    return inked(strokes, style, generator(seed, "ldraw", part, view, "page"), size=size)
