"""Changes a line drawing as drawing and scanning would, on grey pixels, without cropping it.

Scale-cropping and turning by 90 degrees are left out on purpose: both are reported to hurt much on
patent drawings (arXiv:2308.13749), where line width and pose carry meaning.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.config import TrainConfig
from edge_retrieval.drawing.fit import POWER

_TO_POWER = (1 - np.arange(256, dtype=np.float32) / 255) ** POWER
_STEPS = 4095
_TO_GREY = np.rint(255 * (1 - (np.arange(_STEPS + 1) / _STEPS) ** (1 / POWER))).astype(np.uint8)
"""Grey value -> ink ** POWER and back: lines are averaged as `fit` does, else they would fade."""

Squares = NDArray[np.uint8]
"""(N, S, S) uint8 figures, padded to a square as `drawing.fit` does: 0 ink, 255 paper."""


def augment(masters: Squares, config: TrainConfig, rng: np.random.Generator) -> Squares:
    """Return changed copies of figures, reduced to the input size of the encoder.

    Args:
        masters: ``(N, M, M)``, M at least `config.size`.
        config: Its augmentation strengths and `size`.
        rng: Equal states give equal results.

    Returns:
        ``(N, size, size)`` uint8.
    """
    figures = np.empty((len(masters), config.size, config.size), np.uint8)
    for figure, master in zip(figures, masters, strict=True):
        figure[:] = _warp(master, config, rng)
    figures = _strokes(figures, config.strokes, rng)
    for figure in figures:
        if rng.random() < config.erase:
            _erase(figure, rng)
        if rng.random() < config.dashes:
            _break_lines(figure, rng)
        if rng.random() < config.specks:
            _speckle(figure, rng)
    return _grey_values(figures, config.contrast, rng)


def _warp(master: Squares, config: TrainConfig, rng: np.random.Generator) -> Squares:
    """Mirror, tilt, stretch, shrink and shift one master; its square stays inside the picture."""
    side, size = len(master), config.size
    angle = math.radians(float(np.clip(rng.normal(0, config.tilt / 2), -config.tilt, config.tilt)))
    stretch = math.exp(rng.uniform(-1, 1) * config.stretch / 2)
    scale = 1 - config.shrink * rng.random()
    across, up = scale * min(stretch, 1), scale * min(1 / stretch, 1)
    cos, sin = math.cos(angle), math.sin(angle)
    # The turned rectangle's bounding box must fit, so shrink it where it does not.
    wide, high = across * cos + up * abs(sin), up * cos + across * abs(sin)
    fitting = min(1, 1 / max(wide, high))
    across, up, wide, high = (fitting * number for number in (across, up, wide, high))
    shift_x = rng.uniform(-1, 1) * (1 - wide) * size / 2
    shift_y = rng.uniform(-1, 1) * (1 - high) * size / 2
    flip = -1 if rng.random() < config.mirror else 1
    # PIL wants the way back: where in the master each pixel of the result comes from.
    ratio, middle, centre = side / size, side / 2, size / 2
    a, b = flip * ratio * cos / across, flip * ratio * sin / across
    d, e = -ratio * sin / up, ratio * cos / up
    c = middle - a * (centre + shift_x) - b * (centre + shift_y)
    f = middle - d * (centre + shift_x) - e * (centre + shift_y)
    turned = Image.fromarray(_TO_POWER.take(master)).transform(
        (size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )  # outside the master: 0, no ink
    figure: Squares = _TO_GREY[(np.asarray(turned) * _STEPS).astype(np.uint16)]
    return figure


def _strokes(figures: Squares, strength: float, rng: np.random.Generator) -> Squares:
    """Blend each figure with a copy of thicker or thinner lines."""
    thick, thin = figures.copy(), figures.copy()
    for extreme, result in ((np.minimum, thick), (np.maximum, thin)):
        extreme(result[:, 1:], figures[:, :-1], out=result[:, 1:])
        extreme(result[:, :-1], figures[:, 1:], out=result[:, :-1])
        extreme(result[:, :, 1:], figures[:, :, :-1], out=result[:, :, 1:])
        extreme(result[:, :, :-1], figures[:, :, 1:], out=result[:, :, :-1])
    share = rng.uniform(-0.5, 1, len(figures)) * strength  # below 0: thinner, and half as much:
    other = np.where((share > 0)[:, None, None], thick, thin)  # a line of one pixel would be gone
    blend = np.abs(share * 256).astype(np.uint16)[:, None, None]
    mixed: Squares = ((other * blend + figures * (256 - blend)) >> 8).astype(np.uint8)
    return mixed


def _grey_values(figures: Squares, strength: float, rng: np.random.Generator) -> Squares:
    """Change the darkness of grey and of ink; paper stays white."""
    ink = np.linspace(1, 0, 256)[None, :]  # (1, 256)
    gamma = np.exp(rng.uniform(-0.7, 0.7, (len(figures), 1)) * strength)  # (N, 1)
    dark = 1 - rng.uniform(0, 0.4, (len(figures), 1)) * strength  # (N, 1)
    table = np.rint(255 * (1 - dark * ink**gamma)).astype(np.uint8)  # (N, 256)
    return np.stack([row[figure] for row, figure in zip(table, figures, strict=True)])


def _erase(figure: Squares, rng: np.random.Generator) -> None:
    size = len(figure)
    for _ in range(rng.integers(1, 4)):
        high, wide = rng.integers(max(1, size // 24), max(2, size // 5), 2)
        y, x = rng.integers(0, size, 2)
        figure[y : y + high, x : x + wide] = 255


def _break_lines(figure: Squares, rng: np.random.Generator) -> None:
    """Cut gaps along one direction, as broken lines have, over a part of the figure."""
    size = len(figure)
    period, gap = rng.uniform(5, 12), rng.uniform(1, 2.5)
    angle = rng.uniform(0, math.pi)
    y, x = np.ogrid[:size, :size]
    gaps = (x * math.cos(angle) + y * math.sin(angle)) % period < gap  # (S, S)
    top, left = rng.integers(0, size // 2, 2)
    part = slice(top, top + size // 2), slice(left, left + size // 2)
    figure[part][gaps[part]] = 255


def _speckle(figure: Squares, rng: np.random.Generator) -> None:
    count = int(rng.integers(1, max(2, figure.size // 400)))
    y, x = rng.integers(0, len(figure), (2, count))
    figure[y, x] = np.minimum(figure[y, x], rng.integers(0, 200, count, dtype=np.uint8))
