"""Draw the pictures of docs/method.md from the drawings that ship: python docs/making/pictures.py

Each is an SVG with small PNGs in it, made of what the program computes: the cut, the scaling, the
cosines, the bounds of a first pass.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.drawing import FigureImage, cut_sheet, fit
from edge_retrieval.encoder import Encoder, embed_figures, load_encoder
from edge_retrieval.index.building import encode
from edge_retrieval.index.stored import as_vectors
from edge_retrieval.index.views import score_of
from edge_retrieval.sample import sample_folder, sample_query, sample_register

OUT = Path(__file__).parents[1] / "pictures"
INK, SOFT, LINE, ACCENT, PALE = "#1c1b19", "#65625c", "#dedbd4", "#8a4b14", "#f1e6da"
MASS = (0.1, 0.2, 0.7)
"""Share of the target at class, subclass and design: the settings' default."""


class Canvas:
    """An SVG that grows by one element at a time."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" font-family="system-ui, sans-serif">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def text(
        self, x: float, y: float, words: str, *, size: int = 14, fill: str = INK,
        anchor: str = "start", bold: bool = False,
    ) -> None:  # fmt: skip
        """Write words; `y` is their base line."""
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"'
            f"{weight}>{escape(words)}</text>"
        )

    def box(
        self, x: float, y: float, w: float, h: float, *, line: str = LINE, fill: str = "none",
        width: float = 1,
    ) -> None:  # fmt: skip
        """Draw a rectangle."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}"'
            f' stroke="{line}" stroke-width="{width:g}"/>'
        )

    def line(
        self, x0: float, y0: float, x1: float, y1: float, *, fill: str = SOFT, dashed: bool = False
    ) -> None:
        """Draw a straight line."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="M{x0:g} {y0:g}L{x1:g} {y1:g}" stroke="{fill}" stroke-width="1.5"{dash}/>'
        )

    def arrow(self, x0: float, y: float, x1: float) -> None:
        """Draw an arrow to the right."""
        self.line(x0, y, x1, y)
        self.parts.append(f'<path d="M{x1 + 6:g} {y:g}l-9 -5v10z" fill="{SOFT}"/>')

    def picture(self, x: float, y: float, w: float, h: float, grey: np.ndarray) -> None:
        """Place a drawing, uint8, 255 paper."""
        file = io.BytesIO()
        Image.fromarray(grey).quantize(16).save(file, "PNG", optimize=True)
        data = base64.b64encode(file.getvalue()).decode("ascii")
        self.parts.append(
            f'<image x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}"'
            f' href="data:image/png;base64,{data}"/>'
        )

    def save(self, path: Path) -> Path:
        """Write it."""
        path.write_text("\n".join([*self.parts, "</svg>\n"]), encoding="utf-8")
        return path


def sheets_of(number: str) -> list[Path]:
    """Return the sheets of a design of the sample."""
    return sorted((sample_folder() / "sheets").glob(f"{number}-*.png"))


def figures_of(number: str) -> list[FigureImage]:
    """Return all figures of a design of the sample."""
    return [
        figure
        for path in sheets_of(number)
        for figure in cut_sheet(path.read_bytes(), where=path.name)
    ]


def seen(figure: FigureImage, encoder: Encoder) -> np.ndarray:
    """Return a figure as the network sees it: (size, size) uint8."""
    how = encoder.preprocessing
    plane = fit(figure, how)[0] * how.std + how.mean
    return np.clip(np.rint(plane * 255), 0, 255).astype(np.uint8)


def cutting(out: Path, encoder: Encoder) -> Path:
    """A sheet, the figures found on it, and what the network sees of each."""
    path = sheets_of("MADE-0604-00001")[0]
    sheet = Image.open(path).convert("L")
    figures = cut_sheet(path.read_bytes(), where=path.name)
    scale = 400 / sheet.height
    width = sheet.width * scale
    canvas = Canvas(860, 470, "A sheet is cut into its figures")
    canvas.text(20, 28, "1  a sheet as it is filed", bold=True)
    size = (round(width * 1.5), 600)
    canvas.picture(20, 45, width, 400, np.asarray(sheet.resize(size, Image.Resampling.LANCZOS)))
    canvas.box(20, 45, width, 400)
    for figure in figures:
        box = figure.box
        canvas.box(
            20 + box.x0 * scale, 45 + box.y0 * scale, (box.x1 - box.x0) * scale,
            (box.y1 - box.y0) * scale, line=ACCENT, width=2,
        )  # fmt: skip
    canvas.arrow(30 + width, 245, 85 + width)
    left = 110 + width
    canvas.text(left, 28, "2  its figures", bold=True)
    side = 350 / len(figures)
    for place, figure in enumerate(figures):
        high, wide = figure.pixels.shape
        part = min((side - 20) / high, 170 / wide)
        small = Image.fromarray(figure.pixels).resize(
            (round(wide * part * 1.5), round(high * part * 1.5)), Image.Resampling.LANCZOS
        )
        top = 60 + place * (side + 20)
        canvas.picture(left, top, wide * part, high * part, np.asarray(small))
        canvas.box(left, top, wide * part, high * part, line=ACCENT)
        canvas.arrow(left + 185, top + side / 2, left + 215)
        canvas.picture(left + 240, top, side - 20, side - 20, seen(figure, encoder))
        canvas.box(left + 240, top, side - 20, side - 20)
    canvas.text(left + 240, 28, "3  what the network sees", bold=True)
    canvas.text(left, 455, "captions are left out", size=13, fill=SOFT)
    canvas.text(left + 240, 455, "192 x 192, padded", size=13, fill=SOFT)
    return canvas.save(out / "cutting.svg")


TREE = (
    ("06 Furnishing", "06-01 Seats", "armchair", "MADE-0601-00003", (0, 2)),
    ("06 Furnishing", "06-01 Seats", "stool", "MADE-0601-00001", (0,)),
    ("06 Furnishing", "06-01 Seats", "bench", "MADE-0601-00002", (0,)),
    ("06 Furnishing", "06-03 Tables", "table", "MADE-0603-00000", (0,)),
    ("06 Furnishing", "06-03 Tables", "round table", "MADE-0603-00001", (0,)),
    ("07 Household goods", "07-01 China", "mug", "MADE-0701-00000", (0,)),
)
"""Class, subclass, design, its number, and which of its figures are in the batch."""


def targets() -> list[tuple[str, float]]:
    """Return for each figure of `TREE` but the first what it shares with it, and its target.

    Each level has a fixed mass (`MASS`); figures whose deepest shared level it is have equal parts.
    """
    leaves = [(one[0], one[1], one[2]) for one in TREE for _ in one[4]]
    anchor = leaves[0]
    depths = [
        next((level for level in (3, 2, 1) if leaf[:level] == anchor[:level]), 0)
        for leaf in leaves[1:]
    ]
    words = ("nothing shared", "same class", "same subclass", "same design")
    return [(words[d], MASS[d - 1] / depths.count(d) if d else 0.0) for d in depths]


def tree(out: Path, encoder: Encoder) -> Path:
    """The label tree of a small batch, and the targets of one figure."""
    canvas = Canvas(860, 500, "The label tree, and the targets of one figure in a batch")
    step, side, top = 119, 96, 250
    leaves = [(one, place) for one in TREE for place in one[4]]
    xs = [18 + step * i + side / 2 for i in range(len(leaves))]

    def middle(level: int, name: str) -> float:
        mine = [x for x, (one, _) in zip(xs, leaves, strict=True) if one[level] == name]
        return sum(mine) / len(mine)

    for level, y in ((0, 90), (1, 150), (2, 210)):
        for name in dict.fromkeys(one[level] for one in TREE):
            x = middle(level, name)
            parent = 430.0
            if level:
                above = next(one[level - 1] for one in TREE if one[level] == name)
                parent = middle(level - 1, above)
            canvas.line(parent, y - 45 + (4 if level else 0), x, y - 15, fill=LINE)
            canvas.text(x, y, name, anchor="middle", size=15, bold=level == 0)
    canvas.text(430, 40, "all designs", anchor="middle", fill=SOFT, size=15)
    for name, y in (("class", 90), ("subclass", 150), ("design", 210)):
        canvas.text(8, y, name, size=14, fill=SOFT)
    shares = [("the figure itself", -1.0), *targets()]
    for x, (one, place), (shared, share) in zip(xs, leaves, shares, strict=True):
        left, anchor = x - side / 2, share < 0
        canvas.line(middle(2, one[2]), 216, x, top - 4, fill=LINE)
        canvas.picture(left, top, side, side, seen(figures_of(one[3])[place], encoder))
        canvas.box(left, top, side, side, line=ACCENT if anchor else LINE, width=3 if anchor else 1)
        canvas.text(x, top + side + 18, shared, anchor="middle", size=14, fill=SOFT)
        if anchor:
            continue
        canvas.box(left, 455 - 70 * share, side, 70 * share, fill=PALE, line=ACCENT)
        canvas.text(x, 475, f"{share:.0%}", anchor="middle", size=15, bold=True)
    canvas.text(xs[0], 440, "how much should", anchor="middle", size=14, fill=SOFT)
    canvas.text(xs[0], 456, "it look like", anchor="middle", size=14, fill=SOFT)
    canvas.text(xs[0], 472, "the others?", anchor="middle", size=14, fill=SOFT)
    return canvas.save(out / "tree.svg")


def views(out: Path, encoder: Encoder) -> Path:
    """Two views against two designs: the best figure for each view, and (max + mean) / 2."""
    lamp, fan = figures_of("MADE-2605-00001"), figures_of("MADE-1401-00001")
    query = [lamp[0], lamp[2]]
    asked = embed_figures(encoder, query)
    canvas = Canvas(860, 430, "Several views of one product, put together")
    canvas.text(20, 30, "your views", bold=True)
    for row in range(2):
        canvas.picture(20, 130 + 130 * row, 100, 100, seen(query[row], encoder))
        canvas.box(20, 130 + 130 * row, 100, 100, line=ACCENT, width=2)
    for name, left, figures in (
        ("one design of the register", 165, [lamp[1], lamp[3]]),
        ("another design", 525, [fan[0], fan[1]]),
    ):
        cosines = asked @ embed_figures(encoder, figures).T  # (2, 2)
        canvas.text(left, 30, name, bold=True)
        for column in range(2):
            x = left + 100 * column
            canvas.picture(x, 42, 76, 76, seen(figures[column], encoder))
            canvas.box(x, 42, 76, 76)
            for row in range(2):
                best = int(cosines[row].argmax()) == column
                y = 145 + 130 * row
                canvas.box(x, y, 76, 70, fill=PALE if best else "#ffffff", line=LINE)
                number = f"{cosines[row, column]:.2f}"
                canvas.text(x + 38, y + 41, number, anchor="middle", bold=best, size=17)
        bests = cosines.max(axis=1)
        for row in range(2):
            canvas.text(left + 200, 175 + 130 * row, "best", size=12, fill=SOFT)
            canvas.text(left + 200, 195 + 130 * row, f"{bests[row]:.2f}", bold=True, size=17)
        score = score_of(bests)
        told = f"(max {bests.max():.2f} + mean {bests.mean():.2f}) / 2"
        canvas.text(left, 385, told, size=14)
        canvas.text(left, 408, f"score {score:.2f}", bold=True, size=17, fill=ACCENT)
    return canvas.save(out / "views.svg")


def first_pass(out: Path, encoder: Encoder) -> Path:
    """The bounds of a first pass over the sample, and what they leave to be compared."""
    register = sample_register(Bundle.open(default_bundle_path()))
    vectors = register.read_rows(np.arange(register.figures_count))
    encoded = encode(as_vectors(vectors), len(vectors))
    register.close()
    assert encoded is not None
    coding, coded = encoded
    [asked] = embed_figures(encoder, cut_sheet(sample_query().read_bytes(), where="query"))
    weights, constant = coding.weights(asked[None])
    bounds = coded.astype(np.float32) @ weights[0] + constant[0]
    order = np.argsort(-bounds, kind="stable")[:40]
    scores = vectors @ asked
    third = np.sort(scores)[-3]
    canvas = Canvas(860, 430, "The first pass rules figures out without reading them")
    canvas.text(20, 28, "40 of 360 figures, the most promising first", bold=True)
    canvas.text(
        20,
        48,
        f"bar: the most that its score can be, told by {coding.width} bytes",
        size=13,
        fill=SOFT,
    )
    canvas.text(20, 66, "dot: its score, read and computed only where needed", size=13, fill=SOFT)
    base, high = 380, 300
    at = base - high * float(third)
    for place, row in enumerate(order):
        x, bound = 24 + 20.5 * place, float(bounds[row])
        needed = bound >= third
        tall = max(1.0, high * bound)
        canvas.box(x, base - tall, 14, tall, fill=PALE if needed else "#f6f5f2", line=LINE)
        if needed:
            y = base - high * float(scores[row])
            canvas.parts.append(f'<circle cx="{x + 7:g}" cy="{y:.1f}" r="5" fill="{ACCENT}"/>')
    canvas.line(20, at, 850, at, fill=ACCENT, dashed=True)
    canvas.text(850, at - 8, "the third best score so far", anchor="end", size=13, fill=ACCENT)
    canvas.text(850, at + 20, "bars that end below it: ruled out, never read", anchor="end",
                size=13, fill=SOFT)  # fmt: skip
    canvas.line(20, base, 850, base, fill=INK)
    canvas.text(20, 404, "figures of the register", size=13, fill=SOFT)
    return canvas.save(out / "first-pass.svg")


PICTURES: Sequence[Callable[[Path, Encoder], Path]] = (cutting, tree, views, first_pass)


def draw_all(out: Path = OUT) -> list[Path]:
    """Draw all pictures into a folder; return where they are."""
    out.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(Bundle.open(default_bundle_path()))
    return [draw(out, encoder) for draw in PICTURES]


if __name__ == "__main__":
    for made in draw_all():
        print(f"{made.name}: {made.stat().st_size / 1e3:.0f} kB", file=sys.stderr)
