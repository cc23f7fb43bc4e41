"""Drawings in a terminal that can show them: side by side on white paper, named below."""

from __future__ import annotations

import base64
import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from edge_retrieval.cli.talk import answer, one_line, takes_any_letter
from edge_retrieval.cli.terminals import Cell, PictureKind, PicturesOption, cell_of, chosen_kind

if TYPE_CHECKING:
    from PIL import Image

    from edge_retrieval.register import Register
    from edge_retrieval.search import SearchResult

__all__ = [
    "Labelled",
    "PicturesOption",
    "Tile",
    "chosen_kind",
    "escape",
    "hit_pictures",
    "print_hit_pictures",
    "print_pictures",
    "row_of_pictures",
    "strip",
]

Labelled = tuple[str, bytes]
"""What stands below a picture, and its PNG."""

CHUNK = 4096
"""Letters of base64 in one of kitty's control sequences."""

GAP = 1
"""Columns between two pictures."""

HIT_ROWS, FIGURE_ROWS = 7, 9
"""Lines that a picture takes: five or four of them stand side by side in 80 columns."""

MOST_PIXELS = 320
"""A register's pictures are not larger: the terminal enlarges better than a longer text would."""

SIXEL_WIDTH = 1000
"""Pixels; xterm draws no wider sixel picture."""


class Tile(NamedTuple):
    """What one picture takes on the screen, in cells, nearly square."""

    columns: int
    rows: int
    cell: Cell

    @classmethod
    def of(cls, rows: int, cell: Cell, *, width: int) -> Tile:
        """Return a square of so many rows, of fewer where the screen has not the width."""
        columns = max(1, min(width, round(rows * cell.height / cell.width)))
        return cls(columns, max(1, min(rows, round(columns * cell.width / cell.height))), cell)


def strip(pictures: Sequence[bytes], tile: Tile, *, exact: bool = False) -> bytes:
    """Return drawings side by side as one PNG, each whole on a white tile, nothing between them.

    Args:
        pictures: PNGs of drawings, of any shape.
        tile: What each of them takes.
        exact: As many pixels as the screen has there; else no more than make it better.
    """
    from PIL import Image

    width, height = tile.columns * tile.cell.width, tile.rows * tile.cell.height
    scale = 1.0 if exact else min(1.0, MOST_PIXELS / min(width, height))
    step = (tile.columns + GAP) * tile.cell.width
    size = max(8, round(width * scale)), max(8, round(height * scale))
    whole = round((step * (len(pictures) - 1) + width) * scale)
    image = Image.new("LA", (max(size[0], whole), size[1]), (255, 0))
    for place, png in enumerate(pictures):
        image.paste(_on_paper(png, size), (round(place * step * scale), 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _on_paper(png: bytes, size: tuple[int, int]) -> Image.Image:
    """Return a drawing in the middle of white paper of `size`, mode "LA"."""
    import numpy as np
    from PIL import Image

    from edge_retrieval.drawing import Preprocessing, fit, from_png

    side = min(size)
    square = fit(from_png(png), Preprocessing(size=side, mean=0, std=1))[0]  # (side, side) 0 to 1
    paper = Image.new("L", size, 255)
    greys = Image.fromarray(np.rint(square * 255).astype(np.uint8))
    paper.paste(greys, ((size[0] - side) // 2, (size[1] - side) // 2))
    paper.putalpha(255)
    return paper


def escape(
    kind: PictureKind, png: bytes, *, rows: int, columns: int, cell: Cell | None = None
) -> str:
    """Return the control sequence that shows a PNG at the cursor.

    Args:
        kind: What the terminal understands.
        png: The picture; it fills the room, so make it of that shape, as `strip` does.
        rows: Room for it, in cells; sixel fills it but for less than 6 pixels at the bottom.
        columns: The same.
        cell: Size of a cell; only sixel, which counts in pixels, needs it.

    Source:
        The terminal graphics protocol of kitty; the inline images protocol of iTerm2.
    """
    if kind == "sixel":
        return _sixel(png, rows=rows, columns=columns, cell=cell or Cell())
    text = base64.b64encode(png).decode("ascii")
    if kind == "iterm":
        room = f"width={columns};height={rows};preserveAspectRatio=1"
        return f"\x1b]1337;File=inline=1;size={len(png)};{room}:{text}\x07"
    chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    # A PNG (f), shown at once (a); the terminal answers nothing (q), the cursor stays (C).
    keys = f"a=T,f=100,q=2,C=1,c={columns},r={rows},"
    sequences = []
    for left, chunk in zip(range(len(chunks) - 1, -1, -1), chunks, strict=True):
        sequences.append(f"\x1b_G{keys}m={int(left > 0)};{chunk}\x1b\\")
        keys = "q=2,"
    return "".join(sequences)


def _sixel(png: bytes, *, rows: int, columns: int, cell: Cell) -> str:
    import numpy as np
    from PIL import Image

    from edge_retrieval.cli.sixel import BAND, to_sixel

    room = columns * cell.width, rows * cell.height
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        shown = image.convert("LA")
    if shown.size != room:
        shown = shown.resize(room)
    # A band that began in one line of text and ended in the next would count as both.
    pixels = np.asarray(shown)[: max(1, room[1] // BAND) * BAND]  # (h, w, 2)
    return to_sixel(pixels[:, :, 0], pixels[:, :, 1] > 127)


def row_of_pictures(kind: PictureKind, pictures: Sequence[Labelled], tile: Tile) -> str:
    """Return drawings side by side and their labels below, as text that ends without a newline.

    They are one picture for the terminal: so they stand side by side wherever it leaves the cursor.
    The cursor must be at the beginning of a line.
    """
    columns = len(pictures) * (tile.columns + GAP) - GAP
    png = strip([png for _, png in pictures], tile, exact=kind == "sixel")
    shown = escape(kind, png, rows=tile.rows, columns=columns, cell=tile.cell)
    if kind == "kitty":  # make room by scrolling, go back up, draw, go below
        shown = f"{chr(10) * tile.rows}\x1b[{tile.rows}A{shown}\x1b[{tile.rows}B\r"
    else:
        shown += "\n"  # these leave the cursor in the last line of the picture
    labels = [_cell_text(one_line(label), tile.columns) for label, _ in pictures]
    return shown + (" " * GAP).join(labels).rstrip()


def _cell_text(text: str, columns: int) -> str:
    """Return a label as wide as its picture: cut with an ellipsis, or filled up with blanks."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > columns and takes_any_letter():
        text = set_cell_size(text, columns - 1).rstrip() + "…"
    return set_cell_size(text, columns)


def print_pictures(
    kind: PictureKind | None, pictures: Iterable[Labelled], *, rows: int = FIGURE_ROWS
) -> None:
    """Show all of some drawings on stdout, in as many rows as they need.

    Args:
        kind: From `chosen_kind`; None shows nothing.
        pictures: What stands below each, and its PNG.
        rows: Lines of text that each takes, without its label.
    """
    for text in _rows_of(kind, pictures, rows):
        answer(text + "\n")


def print_hit_pictures(
    kind: PictureKind | None, pairs: Iterable[Labelled], *, rows: int = HIT_ROWS
) -> None:
    """Show one row of drawings on stdout, below a blank line: as many as fit the width.

    So a search shows what it found, after its table and before it closes the register:

        kind = chosen_kind(pictures)                    # pictures: PicturesOption = "auto"
        print_hits(result)
        print_hit_pictures(kind, hit_pictures(result, register))

    Args:
        kind: From `chosen_kind`; None shows nothing, and takes nothing from `pairs`.
        pairs: What stands below each, and its PNG; only what fits is taken.
        rows: Lines of text that each takes, without its label.
    """
    for text in islice(_rows_of(kind, pairs, rows), 1):
        answer("\n" + text)


def hit_pictures(result: SearchResult, register: Register) -> Iterator[Labelled]:
    """Yield the query's figure of the best pair, then the best figure of each hit, as they come.

    They are labelled "query", "1 USD0909824", "2 ..."; without a hit there is nothing to compare,
    and nothing comes.
    """
    from edge_retrieval.drawing import to_png

    for hit in result.hits:
        if hit.rank == 1:
            figure = result.query.figures[hit.query_figure]
            yield "query", to_png(figure.pixels, side=MOST_PIXELS)
        yield f"{hit.rank} {hit.design.number}", register.picture(hit.figure.row)


def _rows_of(kind: PictureKind | None, pictures: Iterable[Labelled], rows: int) -> Iterator[str]:
    """Yield row after row of pictures, as wide as stdout; none where it is no terminal."""
    if kind is None or not sys.stdout.isatty():
        return
    screen = shutil.get_terminal_size()
    tile = Tile.of(max(1, min(rows, screen.lines - 3)), cell_of(sys.stdout), width=screen.columns)
    width = screen.columns
    if kind == "sixel":
        width = min(width, SIXEL_WIDTH // tile.cell.width)
    across = max(1, (width + GAP) // (tile.columns + GAP))
    left = iter(pictures)
    while some := list(islice(left, across)):
        yield row_of_pictures(kind, some, tile)
