"""One made design, and one figure of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distill.synthetic.dice import Dice, generator, seed_of
from distill.synthetic.families import FAMILIES
from distill.synthetic.mesh import Mesh, build_mesh
from distill.synthetic.parts import Assembly, Family, Part
from distill.synthetic.raster import ink_strokes, scanned, to_grey, write_text
from distill.synthetic.strokes import VIEWS, Stroke, Style, figure_strokes, make_style, smooth_noise
from edge_retrieval.arrays import Pixels
from edge_retrieval.errors import ConfigError

SIBLING_SHARE = 0.4
"""Share of pairs of designs that have the same parts in other proportions."""

ALL_CLAIMED_SHARE = 0.5
"""Share of designs without any broken lines."""

CAPTION_ROOM = 0.11


@dataclass(frozen=True)
class SyntheticDesign:
    """A made design, ready to be drawn.

    Attributes:
        family: What it is.
        index: Its number within the family, from 0.
        style: The hand that draws it.
        mesh: Its surface.
    """

    family: Family
    index: int
    style: Style
    mesh: Mesh = field(repr=False)

    @property
    def locarno(self) -> str:
        """Its subclass, "06-01"."""
        return self.family.locarno

    @property
    def title(self) -> str:
        """What a register would call it: "Chair"."""
        return self.family.title


def make_design(family: str, index: int, seed: int) -> SyntheticDesign:
    """Make one design; it depends on nothing but the arguments.

    Args:
        family: A key of `FAMILIES`.
        index: From 0. Some pairs (0, 1), (2, 3), ... are siblings: the same parts in other
            proportions.
        seed: Of the whole set.

    Raises:
        ConfigError: There is no such family.
    """
    if family not in FAMILIES:
        raise ConfigError(f"no family {family!r}", hint=f"choose from {', '.join(FAMILIES)}")
    kind = FAMILIES[family]
    parts = _assemble(kind, index, seed).parts
    dice = Dice.of(seed, family, index, "claims")
    if dice.chance(ALL_CLAIMED_SHARE) or not any(part.claimed for part in parts):
        parts = [Part(part.solid) for part in parts]
    style = make_style(Dice.of(seed, family, index, "style"))
    return SyntheticDesign(kind, index, style, build_mesh(parts))


def _assemble(family: Family, index: int, seed: int) -> Assembly:
    """Put one product together from its own two streams of choices."""
    pair = index // 2
    siblings = Dice.of(seed, family.key, pair, "siblings").chance(SIBLING_SHARE)
    topology = (pair, "pair") if siblings else (index, "single")
    dice = Dice(
        seed_of(seed, family.key, *topology, "topology"),
        seed_of(seed, family.key, index, "shape"),
    )
    return family.build(dice)


def restyled(design: SyntheticDesign, seed: int, *key: object) -> SyntheticDesign:
    """Return the design in another hand, which hangs on `key`."""
    style = make_style(Dice.of(seed, design.family.key, design.index, "style", *key))
    return replace(design, style=style)


def lines_of(design: SyntheticDesign, view: str, *, frame: int, seed: int) -> list[Stroke]:
    """Draw one view as strokes in the unit frame.

    Args:
        design: From `make_design`.
        view: One of `VIEWS`.
        frame: About the pixels a side at which it will be shown.
        seed: Of the whole set.

    Raises:
        ConfigError: There is no such view.
    """
    if view not in VIEWS:
        raise ConfigError(f"no view {view!r}", hint=f"choose from {', '.join(VIEWS)}")
    rng = generator(seed, design.family.key, design.index, view, "lines")
    strokes = figure_strokes(design.mesh, design.style, view, rng, resolution_for(frame))
    if design.style.wobble and strokes:
        strokes = wobbled(strokes, design.style.wobble, rng)
    return strokes


def resolution_for(frame: int) -> int:
    """Return the pixels a side at which lines are found for a figure shown at `frame` pixels."""
    return int(np.clip(frame * 1.25, 280, 720))


def wobbled(strokes: list[Stroke], wobble: float, rng: np.random.Generator) -> list[Stroke]:
    """Move all points by smooth noise, as a hand without a ruler does."""
    together = np.concatenate([stroke.points for stroke in strokes])
    shift = np.column_stack([smooth_noise(rng, together, 14) for _ in range(2)]) - 0.5
    moved = np.split(
        together + shift * wobble * 6, np.cumsum([len(s.points) for s in strokes])[:-1]
    )
    return [Stroke(at, stroke.width) for at, stroke in zip(moved, strokes, strict=True)]


def draw(
    design: SyntheticDesign, view: str, *, size: int, seed: int, label: str | None = None
) -> Pixels:
    """Draw one figure.

    Args:
        design: From `make_design`.
        view: One of `VIEWS`.
        size: Pixels a side, at least 32.
        seed: Of the whole set.
        label: A caption under the figure, "FIG. 1"; None: no caption.

    Returns:
        (size, size) grey values, 0 ink, 255 paper.

    Raises:
        ConfigError: There is no such view, or the size is too small.
    """
    if size < 32:
        raise ConfigError(
            f"a figure of {size} pixels shows nothing", hint="use a size of 32 or more"
        )
    strokes = lines_of(design, view, frame=size, seed=seed)
    rng = generator(seed, design.family.key, design.index, view, "page")
    return inked(strokes, design.style, rng, size=size, label=label)


def inked(
    strokes: Sequence[Stroke],
    style: Style,
    rng: np.random.Generator,
    *,
    size: int,
    label: str | None = None,
) -> Pixels:
    """Put strokes of the unit frame on paper, and scan it if the style says so.

    Args:
        strokes: A figure, from `lines_of`.
        style: The hand that draws.
        rng: Of this page: where the figure stands, specks of the scan.
        size: Pixels a side.
        label: A caption under the figure; None: no caption.

    Returns:
        (size, size) grey values, 0 ink, 255 paper.
    """
    factor = 3 if size <= 384 else 2
    side = size * factor
    room = CAPTION_ROOM if label else 0.0
    angle = np.radians(rng.normal(0, 1.2) if style.scan else 0.0)
    scale = (1 - rng.uniform(0, 0.2) * style.jitter) * (1 - room)
    # Never so far that ink leaves the sheet: the lines' frame has a margin of its own.
    offset = np.clip(rng.normal(0, 0.012, 2) * style.jitter, -0.03, 0.03)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = scale * np.array([[cos, sin], [-sin, cos]])
    middle = np.array([0.5, (1 - room) / 2]) + offset
    # On small sheets lines are relatively thicker, as they are on real reductions.
    pen = side * max(1.0, size / 256) ** -0.35
    placed = [Stroke(((s.points - 0.5) @ matrix + middle) * side, s.width * pen) for s in strokes]
    ink = ink_strokes(placed, (side, side), thinnest=2 if style.scan and factor > 2 else 1)
    if label:
        low = max((float(s.points[:, 1].max()) for s in placed), default=side / 2)
        top = min(low + rng.uniform(0.02, 0.05) * side, side * (0.99 - style.caption_size))
        at = (side * rng.uniform(0.4, 0.6), top)
        write_text(ink, label, at, side * style.caption_size, weight=int(rng.integers(0, 2)))
    if style.scan:
        ink = scanned(ink, style.scan, style.roughness, 0.35 * factor, rng)
    return to_grey(ink, factor)
