"""A figure's pixels -> the square float array that an encoder takes; and small PNGs of it."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_retrieval.arrays import Images, Pixels
from edge_retrieval.errors import ConfigError, DrawingError

if TYPE_CHECKING:
    from edge_retrieval.drawing.cut import FigureImage

FIT_VERSION = 1
MARGIN = 0.04
"""Paper on each side of a fitted figure, as a share of the square."""

POWER = 3
"""Reduction takes the power mean of ink, not the plain mean: a 2 px stroke reduced 16 times keeps
half its ink instead of an eighth, while an even tone keeps its value. 1 would be the plain mean,
infinity the darkest pixel. Power means compose: master then fit equals fit at once."""

_FULL = 65535
# Thresholds by whole numbers and a table, not by a power of floats: equal bits on every machine.
_GREY = np.searchsorted(
    ((2 * np.arange(255) + 1) ** POWER * _FULL / 510**POWER).round(), np.arange(_FULL + 1)
)
_TO_GREY: Pixels = (255 - _GREY).astype(np.uint8)  # ink ** POWER -> grey value
_GREY_TO_COVER = [round((255 - v) ** POWER / 255 ** (POWER - 1)) for v in range(256)]
COVER_TO_GREY = [int(_TO_GREY[_FULL * v // 255]) for v in range(256)]
"""Share of ink (0 none, 255 all) of what was ink and paper only -> grey value."""


@dataclass(frozen=True)
class Preprocessing:
    """How a figure becomes an encoder's input; travels in the bundle.

    Attributes:
        size: Side of the square, pixels.
        channels: 1, or 3 equal ones.
        mean: Subtracted after scaling to [0, 1].
        std: Divided by, after that.
        version: Of the algorithm in this file.
    """

    size: int = 128
    channels: int = 1
    mean: float = 0.5
    std: float = 0.5
    version: int = FIT_VERSION

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096:
            raise ConfigError(f"size is {self.size}", hint="choose 8 to 4096 pixels")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels is {self.channels}", hint="choose 1 or 3")
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ConfigError(
                f"mean {self.mean}, std {self.std}", hint="std must be above 0, both finite"
            )
        if not 1 <= self.version <= FIT_VERSION:
            raise ConfigError(
                f"preprocessing version {self.version}, this program knows up to {FIT_VERSION}",
                hint="upgrade edge-retrieval: pip install -U edge-retrieval",
            )

    def to_json(self) -> dict[str, int | float]:
        """Return the settings as a plain dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Read what `to_json` gave; raises `ConfigError` for an unknown or wrong setting."""
        kinds = {field.name: (float if field.type == "float" else int) for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in kinds:
                raise ConfigError(
                    f"unknown preprocessing setting {name!r}", hint=f"known: {', '.join(kinds)}"
                )
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole or (kinds[name] is float and isinstance(value, float))):
                raise ConfigError(
                    f"preprocessing setting {name} is {value!r}",
                    hint=f"give a number ({kinds[name].__name__})",
                )
            values[name] = kinds[name](value)
        return cls(**values)


def fit(figure: FigureImage | Pixels, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scale a figure into a square of paper: whole, aspect kept, thin strokes still visible.

    Args:
        figure: A `FigureImage`, or its `(h, w)` uint8 pixels.
        preprocessing: Size, channels and normalisation.

    Returns:
        `(C, H, W)` float32; the same bits on every machine.

    Raises:
        DrawingError: The figure has no pixels.
    """
    size = preprocessing.size
    square: Pixels = np.full((size, size), 255, dtype=np.uint8)
    small = _inside(_pixels_of(figure), inner_side(preprocessing))
    height, width = small.shape
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = small
    scaled = np.arange(256, dtype=np.float32) / np.float32(255)
    table = (scaled - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
    plane = table[square][None]  # (1, H, W)
    return np.repeat(plane, preprocessing.channels, axis=0)  # (C, H, W)


def inner_side(preprocessing: Preprocessing) -> int:
    """Return the longest side that a fitted figure has, in pixels: the square less its margins."""
    size = preprocessing.size
    return size - 2 * max(1, round(size * MARGIN))


def fit_batch(figures: Sequence[FigureImage | Pixels], preprocessing: Preprocessing) -> Images:
    """Fit several figures; `(N, C, H, W)`, where row i is `fit(figures[i])`. N may be 0."""
    shape = (len(figures), preprocessing.channels, preprocessing.size, preprocessing.size)
    images = np.empty(shape, dtype=np.float32)
    for row, figure in enumerate(figures):
        images[row] = fit(figure, preprocessing)
    return images


def shrink(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Reduce grey values to `size` (width, height) by the power mean of its ink.

    Args:
        pixels: `(h, w)` uint8.
        size: Not larger than they on either side.

    Returns:
        `(h, w)` uint8.
    """
    powers = Image.fromarray(to_powers(pixels))  # mode "F"
    return to_grey(np.asarray(powers.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)))


def to_powers(pixels: Pixels) -> NDArray[np.float32]:
    """Return `(h, w)` float32 of grey values: ink ** POWER, 0 to 65535; its mean may be taken."""
    ink = np.float32(255) - pixels
    powers: NDArray[np.float32] = np.rint(ink * ink * ink * np.float32(_FULL / 255**POWER))
    return powers


def to_grey(powers: NDArray[np.float32]) -> Pixels:
    """Return `(h, w)` uint8 grey values of means of `to_powers`."""
    index = np.clip(np.rint(powers), 0, _FULL).astype(np.int64)
    grey: Pixels = np.take(_TO_GREY, index)
    return grey


def _inside(pixels: Pixels, side: int) -> Pixels:
    """Return the pixels scaled so that the long side is `side`."""
    height, width = pixels.shape
    long = max(height, width)
    if long == side:
        return pixels
    size = (max(1, round(width * side / long)), max(1, round(height * side / long)))
    if long > side:
        return shrink(pixels, size)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _pixels_of(figure: FigureImage | Pixels) -> Pixels:
    pixels = figure if isinstance(figure, np.ndarray) else figure.pixels
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise TypeError(f"expected (h, w) uint8 pixels, not {pixels.shape} {pixels.dtype}")
    if not pixels.size:
        raise DrawingError("the figure has no pixels", hint="cut the sheet again")
    return np.ascontiguousarray(pixels)


def to_png(pixels: Pixels, *, side: int | None = None) -> bytes:
    """Return a small PNG of 16 greys, for thumbnails and registers.

    Args:
        pixels: `(h, w)` uint8.
        side: Longest side wanted; a smaller figure is not enlarged. None keeps the size.
    """
    pixels = _pixels_of(pixels)
    if side is not None and max(pixels.shape) > side:
        pixels = _quickly(pixels, side)
    steps = ((pixels.astype(np.uint16) * 15 + 127) // 255).astype(np.uint8)
    image = Image.fromarray(steps)
    image.putpalette([v for step in range(16) for v in (step * 17,) * 3])
    out = io.BytesIO()
    # Runs alone are looked for: a fifteenth of the time of "optimize", for 3 % more bytes.
    image.save(out, "PNG", bits=4, compress_level=6, compress_type=zlib.Z_RLE)
    return out.getvalue()


def _quickly(pixels: Pixels, side: int) -> Pixels:
    """Reduce as `shrink` does, rounded on the way: good for 16 greys."""
    size = tuple(max(1, round(n * side / max(pixels.shape))) for n in pixels.shape[::-1])
    cover = Image.fromarray(pixels).point(_GREY_TO_COVER)
    return np.asarray(cover.resize(size, Image.Resampling.HAMMING).point(COVER_TO_GREY))


def from_png(data: bytes) -> Pixels:
    """Read what `to_png` wrote; `(h, w)` uint8. Raises `DrawingError` if it is none."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > 4096 * 4096:
                raise ValueError(f"{image.width} x {image.height} pixels")
            return np.asarray(image.convert("RGB").convert("L"))
    except Exception as error:
        raise DrawingError(
            f"a stored figure cannot be read ({error})", hint="run: edge-ret register verify"
        ) from error
