"""How many pages a TIFF has, without Pillow, which looks at all of however many there are."""

from __future__ import annotations

import struct


def count_pages(data: bytes, most: int) -> int:
    """Return how many pages a TIFF has; of more than `most`, `most + 1`.

    Each directory tells where the next one is. One that lies outside of the file is a page, too:
    whoever reads it finds the damage. One that was there before is none.
    """
    order = "<" if data[:2] == b"II" else ">"
    large = 43 in data[2:4]  # BigTIFF
    start, entries, width, after = (8, "Q", 20, "Q") if large else (4, "H", 12, "I")
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + after, data, start)
        while at and at not in seen and len(seen) <= most:
            seen.add(at)
            (count,) = struct.unpack_from(order + entries, data, at)
            at += struct.calcsize(entries) + count * width
            (at,) = struct.unpack_from(order + after, data, at)
    except struct.error:
        pass  # beyond the end
    return max(1, len(seen))
