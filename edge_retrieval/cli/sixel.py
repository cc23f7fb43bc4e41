"""Sixel: a picture as text for a terminal, six rows of pixels at a time, in a few greys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Pixels

LEVELS = 16
"""Greys: what the oldest of these terminals can show at once, and what a register keeps."""

BAND = 6
"""Rows of pixels that one line of letters holds."""

START, END = "\x1bP0;1;0q", "\x1b\\"
"""Between them the picture; what is not painted keeps the colour of the screen."""


def to_sixel(greys: Pixels, painted: NDArray[np.bool_]) -> str:
    """Return the control sequence that draws a picture at the cursor.

    Args:
        greys: `(h, w)` uint8, 0 is black.
        painted: `(h, w)` bool; elsewhere the screen shows through.

    Source:
        VT330/VT340 Programmer Reference Manual, volume 2, chapter 14.
    """
    height, width = greys.shape
    levels = (greys.astype(np.int32) * (LEVELS - 1) + 127) // 255
    levels[~painted] = -1
    palette = "".join(_colour(level) for level in np.unique(levels).tolist() if level >= 0)
    bands = [_band(levels[top : top + BAND]) for top in range(0, height, BAND)]
    return f'{START}"1;1;{width};{height}{palette}{"-".join(bands)}{END}'


def _colour(level: int) -> str:
    """Say how light a grey is: red, green and blue in hundredths."""
    percent = round(100 * level / (LEVELS - 1))
    return f"#{level};2;{percent};{percent};{percent}"


def _band(levels: NDArray[np.int32]) -> str:
    """Write up to six rows, `(6, w)`: one grey after the other, over one another."""
    places = 1 << np.arange(len(levels), dtype=np.int64)[:, None]  # (6, 1), the top one is 1
    lines = []
    for level in np.unique(levels).tolist():
        if level >= 0:
            letters = ((levels == level) * places).sum(axis=0)  # (w,), 0 to 63
            lines.append(f"#{level}{_runs(letters)}")
    return "$".join(lines)


def _runs(letters: NDArray[np.int64]) -> str:
    """Write letters, equal ones as a count; empty ones at the end are left out."""
    letters = letters[: int(np.flatnonzero(letters)[-1]) + 1]
    starts = np.flatnonzero(np.diff(letters, prepend=-1))
    counts = np.diff(starts, append=len(letters))
    return "".join(
        f"!{count}{chr(63 + letter)}" if count > 3 else chr(63 + letter) * count
        for letter, count in zip(letters[starts].tolist(), counts.tolist(), strict=True)
    )
