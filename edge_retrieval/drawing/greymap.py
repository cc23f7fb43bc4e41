"""A page of greys: a scan, or lines that were drawn smooth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_retrieval.arrays import Pixels
from edge_retrieval.drawing.fit import to_grey, to_powers
from edge_retrieval.drawing.raster import (
    STRIP,
    Frame,
    Mask,
    master_size,
    means,
    much_smaller,
    spread,
    turned,
)

VISIBLE = 216
"""A figure is trimmed to what is darker."""

_IS_VISIBLE = [255 if value < VISIBLE else 0 for value in range(256)]


@dataclass(frozen=True)
class Greymap:
    """A page of greys, as the file has it, and what its greys mean.

    Attributes:
        image: Mode "L".
        table: 256 grey values that stand for those of the image, or None: paper becomes 255, ink
            dark. It is applied to what is looked at, never to the whole page.
    """

    image: Image.Image
    table: tuple[int, ...] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def window(self, frame: Frame) -> Image.Image:
        """Return the grey image within a frame that lies on the page."""
        crop = self.image.crop(frame)
        return crop if self.table is None else crop.point(self.table)

    def ink(self, step: int) -> Mask:
        """Return `(h, w)` of cells of `step` pixels: which are dark."""
        width, height = self.size
        least = max(6, 48 // step)
        mask = np.empty((-(-height // step), -(-width // step)), dtype=np.bool_)
        for top, bottom in _strips(0, height, width, step):
            strip = self.window((0, top, width, bottom)).reduce(step)
            rows = slice(top // step, top // step + strip.height)
            np.less_equal(np.asarray(strip), 255 - least, out=mask[rows])
        return mask

    def figure(
        self, frame: Frame, foreign: Mask, step: int, turn: int = 0
    ) -> tuple[Frame, Pixels] | None:
        """Cut a figure out, trimmed to its ink; arguments and result as of `Bitmap.figure`."""
        x0, y0, x1, y1 = frame
        cover = spread(foreign, step, frame)
        boxes = []
        for top, bottom in _strips(y0, y1, x1 - x0, 1):
            seen = self._own((x0, top, x1, bottom), cover, y0, step)
            box = seen.point(_IS_VISIBLE).getbbox()
            if box is not None:
                boxes.append((x0 + box[0], top + box[1], x0 + box[2], top + box[3]))
        if not boxes:
            return None
        low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
        ink = int(low[0]), int(low[1]), int(high[2]), int(high[3])
        own = None if cover is None else cover[:, ink[0] - x0 :]
        return ink, self._master(ink, own, y0, step, turn)

    def _own(self, frame: Frame, cover: Mask | None, origin: int, step: int) -> Image.Image:
        """Return what is within a frame, other figures' cells as paper.

        Args:
            frame: Of the same columns as `cover`.
            cover: `(n, w)`: whether a column belongs to others, for each row of cells.
            origin: A row of the page in the first of these rows of cells.
            step: Pixels of a cell.
        """
        window = self.window(frame)
        rows = np.arange(frame[1], frame[3]) // step - origin // step
        if cover is not None and cover[rows[0] : rows[-1] + 1].any():
            window.paste(255, (0, 0), Image.fromarray(cover[rows]))
        return window

    def _master(
        self, frame: Frame, cover: Mask | None, origin: int, step: int, turn: int
    ) -> Pixels:
        """Reduce what is within a frame to a master, by the power mean of its ink."""
        x0, y0, x1, y1 = frame
        width, height = x1 - x0, y1 - y0

        def read(top: int, bottom: int) -> NDArray[np.float32]:
            own = self._own((x0, y0 + top, x1, y0 + bottom), cover, origin, step)
            return to_powers(np.asarray(own))

        size = master_size(width, height)
        if size == (width, height):
            return np.array(turned(self._own(frame, cover, origin, step), turn))
        if not much_smaller(size, (width, height)):
            image = turned(Image.fromarray(read(0, height)), turn)
            powers = image.resize(master_size(*image.size), Image.Resampling.HAMMING)
            return to_grey(np.asarray(powers))
        return to_grey(np.rot90(means(read, (width, height), size, turn), turn // 90))


def _strips(y0: int, y1: int, width: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of strips of a multiple of `step` rows."""
    rows = max(1, STRIP // (width * step)) * step
    for top in range(y0, y1, rows):
        yield top, min(y1, top + rows)
