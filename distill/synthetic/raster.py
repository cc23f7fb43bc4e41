"""Strokes and captions as pixels: a pen, a scanner, and small PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from distill.synthetic.mesh import Flags
from distill.synthetic.strokes import Stroke
from edge_retrieval.arrays import Pixels

GREYS = 16


def ink_strokes(strokes: Sequence[Stroke], size: tuple[int, int], thinnest: int = 1) -> Flags:
    """Draw strokes whose points and widths are in pixels.

    Lines are drawn one pixel wide and then thickened: Pillow's own wide lines lose a pixel near
    the horizontal.

    Args:
        strokes: In pixels.
        size: Width and height of the result.
        thinnest: No line is thinner than this.

    Returns:
        (height, width) True where there is ink.
    """
    width, height = size
    layers: dict[int, ImageDraw.ImageDraw] = {}
    bitmaps: dict[int, Image.Image] = {}
    for stroke in strokes:
        thickness = max(round(stroke.width), thinnest)
        if thickness not in layers:
            bitmaps[thickness] = Image.new("L", size)
            layers[thickness] = ImageDraw.Draw(bitmaps[thickness])
        layers[thickness].line(stroke.points.ravel().tolist(), fill=1)
    ink = np.zeros((height, width), bool)
    for thickness, bitmap in bitmaps.items():
        ink |= _thicken(np.asarray(bitmap, bool), thickness)
    return ink


def _thicken(ink: Flags, thickness: int) -> Flags:
    """Widen one-pixel lines to `thickness` pixels, by turns to either side."""
    ahead, behind = slice(1, None), slice(None, -1)
    for step in range(thickness - 1):
        into, out_of = (ahead, behind) if step % 2 == 0 else (behind, ahead)
        wider = ink.copy()
        wider[into] |= ink[out_of]
        wider[:, into] |= ink[:, out_of]
        if step % 3 == 0:
            wider[into, into] |= ink[out_of, out_of]
        ink = wider
    return ink


def write_text(
    ink: Flags, text: str, middle: tuple[float, float], height: float, weight: int = 0
) -> None:
    """Write a line of text into `ink`, in place; `middle` is the middle of its top edge."""
    canvas = Image.fromarray(ink.astype(np.uint8))
    font = ImageFont.load_default(size=max(round(height), 6))
    ImageDraw.Draw(canvas).text(middle, text, fill=1, font=font, anchor="mt", stroke_width=weight)
    ink |= np.asarray(canvas, bool)


def scanned(
    ink: Flags, strength: float, roughness: float, sharpness: float, rng: np.random.Generator
) -> Flags:
    """Pass a bitmap through a bilevel scanner: blur, noise, threshold, specks.

    Args:
        ink: (H, W), lines at least 2 pixels wide.
        strength: 0 (a good scanner) to 1.
        roughness: 0 to 1: a higher threshold, thicker lines.
        sharpness: Radius of the blur in pixels.
        rng: Of this page.
    """
    height, width = ink.shape
    paper = Image.fromarray(np.where(ink, 0, 255).astype(np.uint8))
    grey = np.asarray(paper.filter(ImageFilter.GaussianBlur(sharpness)), np.float32)
    coarse = rng.standard_normal((height // 2 + 1, width // 2 + 1), np.float32) * 22 * strength
    noise = coarse.repeat(2, 0).repeat(2, 1)[:height, :width]
    dark = grey + noise < 135 + 55 * roughness
    for _ in range(int(rng.poisson(6 * strength))):
        y, x = int(rng.integers(0, height - 3)), int(rng.integers(0, width - 3))
        dark[y : y + int(rng.integers(1, 4)), x : x + int(rng.integers(1, 4))] = True
    return dark


def to_grey(ink: Flags, factor: int) -> Pixels:
    """Shrink a bitmap by a whole factor into grey values: 0 ink, 255 paper."""
    height, width = ink.shape[0] // factor, ink.shape[1] // factor
    covered = ink.reshape(height, factor, width, factor).mean((1, 3))
    grey: NDArray[np.uint8] = np.round(255 * (1 - covered)).astype(np.uint8)
    return grey


def grey_png(pixels: Pixels) -> bytes:
    """Return a PNG with a palette of 16 greys, about half the size of one with 256."""
    level = (pixels.astype(np.uint16) * (GREYS - 1) + 127) // 255
    height, width = pixels.shape
    palette = Image.frombytes("P", (width, height), level.astype(np.uint8).tobytes())
    palette.putpalette([grey for step in range(GREYS) for grey in [step * 255 // (GREYS - 1)] * 3])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", bits=4, optimize=True)
    return buffer.getvalue()


def bilevel_png(ink: Flags) -> bytes:
    """Return a PNG of one bit a pixel, as offices publish them: black ink on white paper."""
    image = Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).point(lambda grey: grey, "1")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
