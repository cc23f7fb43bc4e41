"""What the two kinds of page, `Bitmap` and `Greymap`, share: names of arrays, sizes of a master."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_TRANSPOSE = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
Number = TypeVar("Number", np.uint8, np.uint32, np.float32)
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Frame = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of a page; right and bottom exclusive."""

MASTER_SIDE = 512
"""Longest side, in pixels, of the master from which every size is fitted."""

STRIP = 1 << 18
"""Pixels that are unpacked at a time: they stay in the processor's cache."""


def turned(image: Image.Image, degrees: int) -> Image.Image:
    """Turn an image counter-clockwise by 0, 90, 180 or 270 degrees."""
    return image.transpose(_TRANSPOSE[degrees]) if degrees else image


def master_size(width: int, height: int) -> tuple[int, int]:
    """Return (width, height) of the master of a figure: its own if that is not too large."""
    long = max(width, height)
    if long <= MASTER_SIDE:
        return width, height
    return max(1, round(width * MASTER_SIDE / long)), max(1, round(height * MASTER_SIDE / long))


def much_smaller(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Whether a size is half of another or less on both sides: then plain means look good."""
    return 2 * size[0] <= whole[0] and 2 * size[1] <= whole[1]


def means(
    read: Callable[[int, int], NDArray[Number]],
    size: tuple[int, int],
    wanted: tuple[int, int],
    turn: int = 0,
) -> NDArray[np.float32]:
    """Reduce a figure to half its size or less: the mean of what each wanted pixel covers.

    Borders between wanted pixels are rounded to whole pixels, so each of these counts once, and
    sums of whole numbers are exact. A figure that will be turned is reduced as if it had been.

    Args:
        read: Returns the `(rows, width)` values from one row to another; asked for strips.
        size: (width, height) of the figure.
        wanted: (width, height), each half of that or less.
        turn: Degrees counter-clockwise by which the result will be turned.

    Returns:
        `(h, w)` float32, not turned.
    """
    across = _borders(size[0], wanted[0], backwards=turn in (90, 180))
    down = _borders(size[1], wanted[1], backwards=turn in (180, 270))
    rows = max(1, STRIP * wanted[1] // (size[0] * size[1]))
    strips = []
    for top in range(0, wanted[1], rows):
        borders = down[top : top + rows + 1]
        strips.append(_summed(read(int(borders[0]), int(borders[-1])), borders - borders[0]))
    turned = np.ascontiguousarray(np.concatenate(strips).T)  # what is in a row is quick to add
    pixels = np.diff(across)[:, None] * np.diff(down)
    return (_summed(turned, across) / pixels.astype(np.float32)).T.astype(np.float32, copy=False)


def _borders(size: int, wanted: int, *, backwards: bool) -> Ints:
    """Return `(wanted + 1,)` places that part `size` pixels evenly, a half rounded up."""
    places: Ints = (2 * size * np.arange(wanted + 1) + wanted) // (2 * wanted)
    return size - places[::-1] if backwards else places


def _summed(values: NDArray[Number], borders: Ints) -> NDArray[Number]:
    """Sum the rows between borders; gathering rows is faster than numpy's `add.reduceat`."""
    starts, lengths = borders[:-1], np.diff(borders)
    least = int(lengths.min())
    out = values[starts]
    for place in range(1, least):
        out += values[starts + place]
    for place in range(least, int(lengths.max())):
        longer = np.flatnonzero(lengths > place)
        out[longer] += values[starts[longer] + place]
    return out


def lone(ink: Mask) -> Mask:
    """Return the cells of ink that have no neighbour of ink, also at no corner."""
    padded = np.pad(ink, 1).astype(np.uint8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    alone: Mask = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) == 1
    return alone & ink


def spread(cells: Mask, step: int, frame: Frame) -> Mask | None:
    """Return the part within a frame of a mask of cells, one value for each pixel's column.

    Returns:
        `(n, w)`: a row for each row of cells that the frame meets. None if all are False.
    """
    x0, y0, x1, y1 = frame
    first = x0 // step
    met = cells[y0 // step : -(-y1 // step), first : -(-x1 // step)]
    if not met.any():
        return None
    return np.repeat(met, step, axis=1)[:, x0 - first * step :][:, : x1 - x0]
