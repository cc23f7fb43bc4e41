"""A page of ink and paper only, eight pixels a byte: an eighth of the memory, and of the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from edge_retrieval.arrays import Pixels
from edge_retrieval.drawing.fit import COVER_TO_GREY
from edge_retrieval.drawing.raster import (
    STRIP,
    Frame,
    Ints,
    Mask,
    lone,
    master_size,
    means,
    much_smaller,
    spread,
    turned,
)

_COUNTS = np.array([value.bit_count() for value in range(256)])


@dataclass(frozen=True)
class Bitmap:
    """A page whose pixels are ink or paper.

    Attributes:
        bits: `(h, (w + 7) // 8)` uint8; a set bit is ink, the highest bit the leftmost pixel; bits
            beyond the width are clear.
        width: In pixels.
    """

    bits: Pixels
    width: int

    @classmethod
    def of(cls, image: Image.Image) -> Bitmap | None:
        """Pack an image of mode "1" or "L"; None if it holds other values than 0 and 255."""
        width, height = image.size
        bits = np.empty((height, (width + 7) // 8), dtype=np.uint8)
        rows = max(1, STRIP // width)
        for top in range(0, height, rows):
            strip = np.asarray(image.crop((0, top, width, min(height, top + rows))))
            if image.mode == "L":
                signed = strip.view(np.int8)
                if (signed ^ (signed >> 1)).any():  # only 0 and -1 are their own halves
                    return None
            np.invert(np.packbits(strip, axis=1), out=bits[top : top + rows])
        return cls(_cleared(bits, width), width)

    @classmethod
    def of_packed(cls, bits: Pixels, width: int) -> Bitmap:
        """Take `(h, (w + 7) // 8)` packed pixels as files hold them: a set bit is paper."""
        return cls(_cleared(~bits, width), width)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, len(self.bits)

    def as_ink_on_paper(self) -> Bitmap:
        """Return the page, inverted if ink covers most of it and nearly all its border."""
        rows = np.unpackbits(self.bits[[0, -1]], axis=1, count=self.width)
        first, last = self.bits[:, 0] >> 7, self.bits[:, -1] >> (-self.width % 8) & 1
        border = np.concatenate([rows.ravel(), first, last])
        if border.mean() <= 0.8:
            return self
        ink = int(_COUNTS[self.bits].sum())
        return self.of_packed(self.bits, self.width) if 2 * ink > self.width * len(first) else self

    def ink(self, step: int) -> Mask:
        """Return `(h, w)` of cells of `step` pixels: which hold ink, but not only a lone speck."""
        height = len(self.bits)
        down, across, whole = -(-height // step), -(-self.width // step), height // step
        merged = np.zeros((down, self.bits.shape[1]), dtype=np.uint8)
        blocks = self.bits[: whole * step].reshape(whole, step, merged.shape[1])
        np.bitwise_or.reduce(blocks, axis=1, out=merged[:whole])
        if whole < down:
            np.bitwise_or.reduce(self.bits[whole * step :], axis=0, out=merged[whole])
        first, shift = np.divmod(np.arange(across) * step, 8)  # of each cell: byte, bit in it
        ink: Mask = np.zeros((down, across), dtype=np.bool_)
        for byte in range((step + 14) // 8):  # the bytes that a cell may reach into
            low, high = np.clip(shift - 8 * byte, 0, 8), np.clip(shift + step - 8 * byte, 0, 8)
            place = np.minimum(first + byte, merged.shape[1] - 1)
            mask = ((1 << (8 - low)) - (1 << (8 - high))) * (place == first + byte)
            if mask.any():
                ink |= np.take(merged, place, axis=1) & mask.astype(np.uint8) != 0
        if step < 4:
            return ink
        rows, columns = np.nonzero(lone(ink))
        few = self._count(rows, columns, step) <= 3
        clean = ink.copy()
        clean[rows[few], columns[few]] = False
        return clean if clean.any() else ink

    def _count(self, rows: Ints, columns: Ints, step: int) -> Ints:
        """Return how many pixels of ink each of some cells holds."""
        counts = [np.zeros(0, dtype=np.int64)]
        place = np.arange(step)
        for some in range(0, len(rows), 4096):
            y = rows[some : some + 4096, None, None] * step + place[:, None]
            x = columns[some : some + 4096, None, None] * step + place
            inside = (y < len(self.bits)) & (x < self.width)
            byte = self.bits[np.where(inside, y, 0), np.where(inside, x >> 3, 0)]
            counts.append((byte >> (7 - (x & 7)) & inside).sum((1, 2)))
        return np.concatenate(counts)

    def window(self, frame: Frame) -> Image.Image:
        """Return the grey image (ink 0, paper 255) within a frame that lies on the page."""
        x0, y0, x1, y1 = frame
        bits = np.unpackbits(self.bits[y0:y1, x0 // 8 : -(-x1 // 8)], axis=1)
        return Image.fromarray(_grey(bits[:, x0 % 8 : x0 % 8 + x1 - x0]))

    def figure(
        self, frame: Frame, foreign: Mask, step: int, turn: int = 0
    ) -> tuple[Frame, Pixels] | None:
        """Cut a figure out, trimmed to its ink.

        Args:
            frame: Where it is on the page.
            foreign: Cells of `step` pixels, of the whole page, whose ink is not its own.
            step: Pixels of a cell.
            turn: Degrees counter-clockwise by which it is to be turned.

        Returns:
            Where its ink is on the page, and its master, turned: `(h, w)` uint8, long side at most
            `MASTER_SIDE`. None if there is no ink.
        """
        x0, y0, x1, y1 = frame
        start = x0 // 8 * 8
        bits = self.bits[y0:y1, start // 8 : -(-x1 // 8)].copy()
        bits[:, 0] &= 0xFF >> (x0 - start)
        _cleared(bits, x1 - start)
        cover = spread(foreign, step, (start, y0, x1, y1))
        if cover is not None:
            paper = np.repeat(~np.packbits(cover, axis=1), step, axis=0)
            bits &= paper[y0 % step :][: y1 - y0]
        down = np.flatnonzero(bits.any(1))
        if not len(down):
            return None
        top, bottom = int(down[0]), int(down[-1]) + 1
        across = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(bits[top:bottom], axis=0)))
        left, right = int(across[0]), int(across[-1]) + 1
        box = (start + left, y0 + top, start + right, y0 + bottom)
        bits = bits[top:bottom, left // 8 : -(-right // 8)]
        return box, _master(bits, left % 8, right - left, turn)


def _cleared(bits: Pixels, width: int) -> Pixels:
    """Clear the bits beyond the width, in place."""
    if width % 8:
        bits[:, -1] &= 0xFF << (-width % 8) & 0xFF
    return bits


def _master(bits: Pixels, first: int, width: int, turn: int) -> Pixels:
    """Reduce packed rows, of which `width` pixels from `first` on are the figure, to its master."""
    height = len(bits)

    def read(top: int, bottom: int) -> Any:
        pixels = np.unpackbits(bits[top:bottom], axis=1)[:, first : first + width]
        return pixels.astype(kind, copy=False)

    kind: type[Any] = np.uint8
    size = master_size(width, height)
    if not much_smaller(size, (width, height)):
        image = turned(Image.fromarray(read(0, height) * np.uint8(255)), turn)
        cover = image.resize(master_size(*image.size), Image.Resampling.HAMMING)
    else:
        if max(width, height) > 14 * max(size):  # squares of more than 255 pixels
            kind = np.uint32
        share = np.rot90(means(read, (width, height), size, turn), turn // 90)
        cover = Image.fromarray((share * np.float32(255) + np.float32(0.5)).astype(np.uint8))
    return np.asarray(cover.point(COVER_TO_GREY))


def _grey(pixels: Pixels) -> Pixels:
    """Return 0 for ink (1) and 255 for paper (0)."""
    return pixels * np.uint8(255) ^ np.uint8(255)
