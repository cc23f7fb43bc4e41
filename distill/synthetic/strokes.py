"""A draughtsman's hand: line widths, dashes, shading habits; and a figure as its strokes.

Strokes are in units of the frame, [0, 1] from left to right and from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.synthetic.chains import chain, dashed, length_of
from distill.synthetic.dice import Dice
from distill.synthetic.geometry import Points
from distill.synthetic.hidden_lines import (
    Camera,
    FeatureLines,
    Scene,
    Segments,
    feature_lines,
    look,
)
from distill.synthetic.mesh import Mesh
from distill.synthetic.shading import Shading, hatch_lines, stipple, tone_lines

VIEWS = (
    "perspective",
    "front",
    "rear",
    "left",
    "right",
    "top",
    "bottom",
    "perspective2",
)

_SQUARE_ON = {
    "front": (0.0, 0.0),
    "rear": (180.0, 0.0),
    "left": (-90.0, 0.0),
    "right": (90.0, 0.0),
    "top": (0.0, 90.0),
    "bottom": (0.0, -90.0),
}


@dataclass(frozen=True)
class Style:
    """How one draughtsman draws, the same for all figures of a design.

    Widths and lengths are shares of the frame.

    Attributes:
        width: Of a plain line.
        outline: Width of outlines as a multiple of `width`.
        thin: Width of creases as a multiple of `width`.
        dash, gap: Of broken lines.
        wobble: How far lines wander from where they belong.
        azimuth, elevation, perspective: Of the camera of perspective views, see `Camera`.
        fit: See `Camera`.
        tangents: Where flats meet roundings: 0 no line, 1 a line, 2 a line here and there.
        shading: How surfaces are shaded; None: not at all.
        tone_gaps: Share of the tone lines that is left out, in patches.
        band_angle, band_period, band_share: Hatch is drawn in oblique bands only.
        jitter: How freely the figure is placed in its frame.
        scan: How bad the scan is, 0 for none.
        roughness: How thick the scanner's threshold makes lines, 0 to 1.
        caption: What stands before the figure's number: "FIG. ".
        caption_size: Height of the caption.
    """

    width: float
    outline: float
    thin: float
    dash: float
    gap: float
    wobble: float
    azimuth: float
    elevation: float
    perspective: float
    fit: float
    tangents: int
    shading: Shading | None
    tone_gaps: float
    band_angle: float
    band_period: float
    band_share: float
    jitter: float
    scan: float
    roughness: float
    caption: str
    caption_size: float


@dataclass(frozen=True)
class Stroke:
    """One line drawn without lifting the pen: (N, 2) points and a width, shares of the frame."""

    points: Points
    width: float


def make_style(dice: Dice) -> Style:
    """Return a style by choices."""
    dash = dice.uniform(0.010, 0.024)
    return Style(
        width=dice.uniform(0.0018, 0.0044),
        outline=dice.pick(1.0, 1.0, 1.25, 1.6),
        thin=dice.uniform(0.45, 0.9),
        dash=dash,
        gap=dash * dice.uniform(0.55, 1.0),
        wobble=dice.pick(0.0, 0.0, 0.0, 1.0) * dice.uniform(0.0004, 0.0016),
        azimuth=dice.pick(-1, 1) * dice.uniform(20, 58),
        elevation=dice.uniform(12, 38),
        perspective=dice.pick(0.0, 0.0, 1.0) * dice.uniform(0.08, 0.3),
        fit=dice.pick(1.0, 1.0, 0.5, 0.25),
        tangents=dice.pick(0, 1, 1, 2),
        shading=_make_shading(dice),
        tone_gaps=dice.uniform(0.1, 0.5),
        band_angle=dice.pick(0.5, 1.0, -0.8),
        band_period=dice.uniform(0.3, 0.7),
        band_share=dice.uniform(0.25, 0.7),
        jitter=dice.uniform(0, 1),
        scan=dice.pick(0.0, 0.0, 1.0) * dice.uniform(0.2, 1.0),
        roughness=dice.uniform(0, 1),
        caption=dice.pick("FIG. ", "FIG. ", "FIG.", "Fig. "),
        caption_size=dice.uniform(0.045, 0.065),
    )


def _make_shading(dice: Dice) -> Shading | None:
    kind = dice.pick(
        "none", "tones", "tones", "tones and hatch", "tones and hatch", "hatch", "stipple"
    )
    light = np.array([dice.uniform(0.4, 0.7), dice.uniform(0.3, 0.7), dice.uniform(0.3, 0.8)])
    light *= [dice.pick(-1, -1, 1), 1, 1]
    x, y, z = (light / np.linalg.norm(light)).tolist()
    tones = np.linspace(-0.75, dice.uniform(-0.1, 0.45), dice.integer(6, 13)).tolist()
    hatched = "hatch" in kind
    below, step, dots = dice.uniform(0, 0.5), dice.uniform(0.009, 0.022), dice.uniform(4000, 14000)
    angle = dice.pick(0.0, 0.0, 0.6, -0.7, 1.2)
    if kind == "none":
        return None
    return Shading(
        light=(x, y, z),
        tones=tuple(tones) if "tones" in kind else (),
        hatch_below=below if hatched else None,
        hatch_angle=angle,
        hatch_step=step,
        dots=dots if kind == "stipple" else 0.0,
    )


def camera_of(style: Style, view: str) -> Camera:
    """Return the camera of a view; views other than perspective ones are square on."""
    if view in _SQUARE_ON:
        azimuth, elevation = _SQUARE_ON[view]
        return Camera(azimuth, elevation, fit=style.fit)
    if view == "perspective":
        return Camera(style.azimuth, style.elevation, style.perspective, style.fit)
    return Camera(style.azimuth + 180, -0.6 * style.elevation, style.perspective, style.fit)


def figure_strokes(
    mesh: Mesh,
    style: Style,
    view: str,
    rng: np.random.Generator,
    frame: int,
    find: Callable[[Scene], FeatureLines] = feature_lines,
) -> list[Stroke]:
    """Draw a mesh from one side.

    Args:
        mesh: From `build_mesh`.
        style: The hand that draws.
        view: One of `VIEWS`.
        rng: Of this figure: places of stipple dots and gaps.
        frame: Pixels a side at which lines are found; about the size at which they are shown.
        find: Finds the lines that make the shape.

    Returns:
        Strokes, faint ones first.
    """
    scene = look(mesh, camera_of(style, view), frame)
    lines = find(scene)
    # A drawing of many lines takes thinner ones, or a fan's grille turns black.
    width = style.width * float(np.clip((14 / (_total(lines) / frame + 1e-3)) ** 0.35, 0.5, 1.15))
    strokes: list[Stroke] = []

    def pen(segments: Segments, factor: float, shortest: float = 0.002) -> None:
        for polyline in chain(segments):
            unit = polyline / frame
            if length_of(unit) >= shortest:
                strokes.append(Stroke(unit, width * factor))

    def pen_broken(segments: Segments, factor: float) -> None:
        for polyline in chain(segments):
            if length_of(polyline / frame) >= 0.004:
                dashes = dashed(polyline / frame, style.dash, style.gap)
                strokes.extend(Stroke(dash, width * factor) for dash in dashes)

    if style.shading is not None:
        for x, y in stipple(scene, style.shading, rng) / frame:
            strokes.append(Stroke(np.array([[x, y], [x, y]]), width * 0.6))
        tones = _with_gaps(tone_lines(scene, style.shading), frame, rng, 7, style.tone_gaps)
        pen(tones, style.thin * 0.85, 0.02)
        pen(_in_bands(hatch_lines(scene, style.shading), frame, style, rng), style.thin * 0.75)
    if style.tangents:
        patchy = 0.45 if style.tangents == 2 else 0.0
        pen(_with_gaps(lines.tangent, frame, rng, 9, patchy), style.thin * 0.85)
    pen(lines.crease, style.thin)
    pen_broken(lines.broken_crease, style.thin)
    pen_broken(lines.broken_outline, 0.8)
    pen(lines.outline, style.outline)
    return strokes


def _total(lines: FeatureLines) -> float:
    """Return the length of all feature lines, in pixels."""
    kinds = (lines.outline, lines.crease, lines.tangent, lines.broken_outline, lines.broken_crease)
    return float(sum(np.hypot(*(s[:, 2:] - s[:, :2]).T).sum() for s in kinds))


def smooth_noise(rng: np.random.Generator, places: Points, cells: int) -> NDArray[np.float64]:
    """Return (N,) noise in [0, 1] at (N, 2) places of the frame, smooth over 1 / cells."""
    grid = rng.random((cells + 3, cells + 3))
    scaled = np.clip(places, 0, 1) * cells
    cell = scaled.astype(np.int64)
    share = scaled - cell
    share = share * share * (3 - 2 * share)
    x, y = cell[:, 0], cell[:, 1]
    upper = grid[y, x] * (1 - share[:, 0]) + grid[y, x + 1] * share[:, 0]
    lower = grid[y + 1, x] * (1 - share[:, 0]) + grid[y + 1, x + 1] * share[:, 0]
    noise: NDArray[np.float64] = upper * (1 - share[:, 1]) + lower * share[:, 1]
    return noise


def _with_gaps(
    segments: Segments, frame: int, rng: np.random.Generator, cells: int, gaps: float
) -> Segments:
    """Leave out the segments that fall into patches, about a share `gaps` of the frame."""
    if gaps <= 0 or not len(segments):
        return segments
    middle = (segments[:, :2] + segments[:, 2:]) / 2 / frame
    kept: Segments = segments[smooth_noise(rng, middle, cells) > gaps]
    return kept


def _in_bands(segments: Segments, frame: int, style: Style, rng: np.random.Generator) -> Segments:
    """Keep what lies in oblique wavy bands: a hatch over a whole face looks printed, not drawn."""
    if not len(segments):
        return segments
    lengths = np.hypot(*(segments[:, 2:] - segments[:, :2]).T) / frame
    counts = np.maximum(np.ceil(lengths / 0.012).astype(np.int64), 1)
    row = np.repeat(np.arange(len(segments)), counts)
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = ((segments[:, 2:] - segments[:, :2]) / counts[:, None])[row]
    start = segments[row, :2] + step * number[:, None]
    middle = (start + step / 2) / frame
    across = middle @ [np.cos(style.band_angle), np.sin(style.band_angle)]
    phase = across / style.band_period + 0.25 * smooth_noise(rng, middle, 6)
    kept: Segments = np.column_stack([start, start + step])[phase % 1 < style.band_share]
    return kept
