"""Changes a line drawing as drawing, scanning and photographing would, without cropping it.

Left out on purpose: scale-cropping and turning by more than a small tilt. On patent drawings both
are reported to cost much (mAP .554 -> .400 and .460, arXiv:2308.13749): offices ask for lines of
about one width, so width is a cue that enlarging blurs, and pose tells one view from another.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from distill.config import TrainConfig
from edge_retrieval.drawing.fit import POWER

Squares = NDArray[np.uint8]
"""(N, S, S) uint8 figures, padded to a square as `drawing.fit` does: 0 ink, 255 paper."""

_SAMPLES = 2
"""Samples of the master a pixel, along each side: enough for masters up to twice the input."""


def augment(masters: Squares, config: TrainConfig, seeds: NDArray[np.uint64]) -> Squares:
    """Return changed copies of figures, reduced to the input size of the encoder.

    Figure i depends on `masters[i]`, `config` and `seeds[i]` alone, not on its place nor on its
    neighbours: any split of a batch among processes gives the same figures.

    Args:
        masters: ``(N, M, M)``, M from `config.size` to twice that.
        config: Its augmentation strengths and `size`. With all of them 0 a figure is, but for
            the way of reducing it, what `drawing.fit` gives.
        seeds: ``(N,)``.

    Returns:
        ``(N, size, size)`` uint8.
    """
    figures = np.empty((len(masters), config.size, config.size), np.uint8)
    for figure, master, seed in zip(figures, masters, seeds, strict=True):
        figure[:] = _augmented(master, config, np.random.default_rng(seed))
    return figures


def _augmented(master: Squares, config: TrainConfig, rng: Generator) -> Squares:
    cubes = _reduced(_warp(master, config, rng))  # (S, S)
    figure = _grey_values(config.contrast, rng).take(cubes)
    figure = _strokes(figure, config.strokes, rng)
    if rng.random() < config.dashes:
        _break_lines(figure, rng)
    if rng.random() < config.erase:
        _erase(figure, rng)
    if rng.random() < config.specks:
        _speckle(figure, rng)
    if rng.random() < config.photo:
        return _photograph(figure, rng)
    if rng.random() < config.binarise:
        return _black_and_white(figure, rng)
    return figure


def _warp(master: Squares, config: TrainConfig, rng: Generator) -> Squares:
    """Mirror, tilt, stretch, shrink and shift one master; its square stays inside the picture.

    Returns:
        ``(2S, 2S)`` samples of it: the nearest pixels, four to a pixel of the result. That is twice
        as fast as Pillow's bilinear way, and as near to a fine reduction.
    """
    side, size = len(master), config.size
    angle = min(max(rng.normal(0, 0.5), -1), 1) * math.radians(config.tilt)
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
    # PIL wants the way back: where in the master each sample of the result comes from.
    ratio, middle, centre = side / size, side / 2, size / 2
    a, b = flip * ratio * cos / across, flip * ratio * sin / across
    d, e = -ratio * sin / up, ratio * cos / up
    c = middle - a * (centre + shift_x) - b * (centre + shift_y)
    f = middle - d * (centre + shift_x) - e * (centre + shift_y)
    fine = size * _SAMPLES
    a, b, d, e = (number / _SAMPLES for number in (a, b, d, e))
    samples = Image.fromarray(master).transform(
        (fine, fine), Image.Transform.AFFINE, (a, b, c, d, e, f), fillcolor=255
    )
    return np.asarray(samples)


assert POWER == 3, "_reduced takes the mean of cubes"
_FULL = 254 * 255 >> 4  # ink ** 3 of black, as _reduced counts it
_TO_GREY = np.rint(255 * (1 - (np.arange(_FULL + 1) / _FULL) ** (1 / POWER))).astype(np.uint8)


def _reduced(samples: Squares) -> NDArray[np.uint16]:
    """Halve a picture by the mean of its ink's cubes, as `fit` does: lines keep their darkness.

    Returns:
        ``(S, S)`` cubes, 0 to `_FULL`. Ink paler than 16 of 255 is lost: sixteen bits are enough
        for the rest, and vectorise best.
    """
    ink = np.bitwise_not(samples).astype(np.uint16)  # (2S, 2S)
    cube = ink * ink
    cube += 128
    cube >>= 8
    cube *= ink
    cube >>= 2  # so that the sum of four fits
    rows = cube[::2] + cube[1::2]  # (S, 2S)
    mean = rows[:, ::2] + rows[:, 1::2]  # (S, S)
    mean >>= 4
    return mean


def halved(samples: Squares) -> Squares:
    """Turn ``(2S, 2S)`` uint8 samples into ``(S, S)`` uint8, lines as dark as `fit` leaves them."""
    return _TO_GREY.take(_reduced(samples))


_INK = np.linspace(1, 0, 256)
"""Grey value -> ink."""


def _grey_values(strength: float, rng: Generator) -> Squares:
    """Return a table from cubes to grey: other darkness of grey and of ink, paper stays white."""
    gamma = math.exp(rng.uniform(-0.7, 0.7) * strength)
    dark = 1 - rng.uniform(0, 0.4) * strength
    changed = np.rint(255 * (1 - dark * _INK**gamma)).astype(np.uint8)  # (256,)
    table: Squares = changed.take(_TO_GREY)  # (_FULL + 1,)
    return table


def _strokes(figure: Squares, strength: float, rng: Generator) -> Squares:
    """Blend a figure with a copy of thicker or thinner lines."""
    share = rng.uniform(-0.5, 1) * strength  # below 0: thinner, and half as much,
    extreme = np.minimum if share > 0 else np.maximum  # as a line of one pixel would be gone
    other = figure.copy()
    extreme(other[:, 1:], figure[:, :-1], out=other[:, 1:])
    extreme(other[:, :-1], figure[:, 1:], out=other[:, :-1])
    extreme(other[1:], figure[:-1], out=other[1:])
    extreme(other[:-1], figure[1:], out=other[:-1])
    # Differences of one sign stay within 8 bits; their share of 256ths within 16.
    change = figure - other if share > 0 else other - figure
    step = np.multiply(change, round(abs(share) * 256), dtype=np.uint16)
    step >>= 8
    change = step.astype(np.uint8)
    blended: Squares = figure - change if share > 0 else figure + change
    return blended


def _erase(figure: Squares, rng: Generator) -> None:
    """Remove patches that have ink in their middle: on paper alone nothing would go missing."""
    size = len(figure)
    inked = np.flatnonzero(figure < 200)
    for _ in range(rng.integers(1, 4) if len(inked) else 0):
        high, wide = rng.integers(max(1, size // 24), max(2, size // 5), 2)
        y, x = divmod(int(inked[rng.integers(len(inked))]), size)
        top, left = max(0, y - high // 2), max(0, x - wide // 2)
        figure[top : top + high, left : left + wide] = 255


def _break_lines(figure: Squares, rng: Generator) -> None:
    """Break lines into dashes, in a part of the figure: across x where they run along x."""
    size = len(figure)
    period, gap = rng.uniform(5, 12), rng.uniform(1.5, 3.5)
    phase = rng.uniform(0, period, 2)
    places = np.arange(size)
    gap_y, gap_x = ((places + start) % period < gap for start in phase)  # (S,) each
    padded = np.pad(figure, 2, mode="edge") >> 1
    beside = padded[2:-2, :-4] + padded[2:-2, 4:]  # (S, S): dark where a line runs along x
    above = padded[:-4, 2:-2] + padded[4:, 2:-2]
    gaps = np.where(beside <= above, gap_x, gap_y[:, None])  # (S, S)
    gaps &= np.maximum(beside, above) > 100  # a solid area has no lines to break
    high, wide = rng.integers(size // 3, size + 1, 2)
    top, left = rng.integers(0, size - high + 1), rng.integers(0, size - wide + 1)
    part = slice(top, top + high), slice(left, left + wide)
    figure[part][gaps[part]] = 255


def _speckle(figure: Squares, rng: Generator) -> None:
    count = int(rng.integers(1, max(2, figure.size // 400)))
    y, x = rng.integers(0, len(figure), (2, count))
    figure[y, x] = np.minimum(figure[y, x], rng.integers(0, 200, count, dtype=np.uint8))


def _black_and_white(figure: Squares, rng: Generator) -> Squares:
    """Cut the grey values in two as an office's scanner does, set to how dark the lines are.

    A threshold of its own for each figure, not one for all: where lines are thin they reach the
    input size as light grey, and a middle threshold leaves nothing of the figure.
    """
    counts = np.bincount(figure.ravel(), minlength=256)  # (256,)
    ink = counts * _INK  # (256,)
    typical = float((ink * _INK).sum() / max(ink.sum(), 1e-9))  # of inked pixels, by their ink
    threshold = 255 * (1 - typical * rng.uniform(0.35, 0.85))
    return np.where(figure < threshold, np.uint8(0), np.uint8(255))


def _photograph(figure: Squares, rng: Generator) -> Squares:
    """Blur, light that falls off to one side, pale ink, noise of the sensor, JPEG."""
    size = len(figure)
    blurred = Image.fromarray(figure).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    grey = np.asarray(blurred, np.float32)  # (S, S)
    grey = 255 - (255 - grey) * np.float32(rng.uniform(0.6, 1))
    place = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    ramp = place * np.float32(math.cos(angle)) + place[:, None] * np.float32(math.sin(angle))
    grey *= 1 - np.float32(rng.uniform(0, 0.4)) * (ramp + np.float32(0.5)).clip(0, 1)
    grey += np.float32(rng.uniform(1, 8)) * rng.standard_normal((size, size), np.float32)
    file = io.BytesIO()
    Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=int(rng.integers(25, 85))
    )
    return np.asarray(Image.open(file))
