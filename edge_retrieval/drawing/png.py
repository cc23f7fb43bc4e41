"""PNG, unpacked in ways that Pillow has not: eight pixels a byte, and strip by strip.

Both only write other headers and leave the unpacking to Pillow. None, where a file is of another
kind or damaged: it is then read, or told, in the usual way.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from edge_retrieval.arrays import Pixels
from edge_retrieval.drawing.raster import STRIP

ORIENTATION = 0x0112  # of Exif: how the camera was held
LARGE = 1 << 24
"""Pixels from which a page in colour is unpacked strip by strip: Pillow takes 4 bytes for each."""

_START = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")


def packed(data: bytes) -> Pixels | None:
    """Return the rows of a PNG of one bit a pixel, `(h, (w + 7) // 8)`: a set bit is light.

    They are those of a PNG of one byte a pixel and an eighth of the width.
    """
    width, height, bits, colour, _, _, interlaced = _header(data)
    if (bits, colour, interlaced) != (1, 0, 0):
        return None
    header = _chunk(b"IHDR", _HEADER.pack((width + 7) // 8, height, 8, 0, 0, 0, 0))
    image = _opened(data[:8] + header + data[33:])
    if "transparency" in image.info or image.getexif().get(ORIENTATION, 1) != 1:
        return None
    rows = np.asarray(image)
    # A second header may follow the first, and count.
    return rows if rows.dtype == np.uint8 and rows.shape == (height, (width + 7) // 8) else None


def grey_of_colour(data: bytes) -> Image.Image | None:
    """Return a large PNG of 8-bit RGB as mode "L", never holding all of its colours.

    Each strip becomes a PNG of its own, which begins with the last row of the one before: rows are
    written as differences from the row above.
    """
    width, height, bits, colour, _, _, interlaced = _header(data)
    if (bits, colour, interlaced) != (8, 2, 0) or width * height < LARGE:
        return None
    chunks = list(_chunks(data))
    if any(kind in (b"tRNS", b"eXIf", b"acTL") for kind, _ in chunks):
        return None
    stream = zlib.decompressobj()
    packed_rows = iter([body for kind, body in chunks if kind == b"IDAT"])
    across = 1 + 3 * width
    rows = max(1, 4 * STRIP // width)
    grey = Image.new("L", (width, height))
    above = bytes(across)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        raw = bytearray()
        while len(raw) < count * across:
            more = stream.decompress(stream.unconsumed_tail, count * across - len(raw))
            if not more and not stream.unconsumed_tail:
                more = stream.decompress(next(packed_rows), count * across - len(raw))
            raw += more
        header = _chunk(b"IHDR", _HEADER.pack(width, count + 1, 8, 2, 0, 0, 0))
        body = _chunk(b"IDAT", zlib.compress(above + raw, 0))
        strip = _opened(_START + header + body + _chunk(b"IEND", b""))
        above = b"\0" + strip.crop((0, count, width, count + 1)).tobytes()
        grey.paste(strip.crop((0, 1, width, count + 1)).convert("L"), (0, top))
    return grey


def _header(data: bytes) -> tuple[int, int, int, int, int, int, int]:
    """Return width, height, bits, colour type, compression, filter and interlacing."""
    width, height, *rest = _HEADER.unpack(data[16:29])
    return (width, height, *rest)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, place = memoryview(data), 8
    while place < len(data):
        length = int.from_bytes(view[place : place + 4], "big")
        kind, end = bytes(view[place + 4 : place + 8]), place + 8 + length
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"chunk {kind!r} is damaged")
        yield kind, view[place + 8 : end]
        place = end + 4


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + kind + body + crc


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=["PNG"])
    image.load()
    return image
