"""Points with names beside them, none of which covers another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_retrieval.bench_page.axes import MARKS, Plot, bare, scale, short, with_unit
from edge_retrieval.bench_page.svg import GROUND, INK, SERIES, SOFT, TEXT, to_svg

PLACES = [
    (8, 0), (-8, 0), (0, 11), (0, -11), (7, 9), (7, -9), (-7, 9), (-7, -9), (10, 20), (10, -20),
    (-10, 20), (-10, -20), (0, 24), (0, -24), (14, 32), (14, -32), (-14, 32), (-14, -32),
    *((side, up * step) for step in (46, 60, 74, 88) for side in (0, 14, -14) for up in (1, -1)),
]  # fmt: skip
"""Of a name beside its point, in the plot's units, the best first."""


def points(
    name: str, title: str, found: Mapping[str, tuple[float, float]], *, x: str, y: str, unit: str
) -> Plot:
    """Draw named points.

    Args:
        name: See `to_svg`.
        title: See `to_svg`.
        found: Name -> (x in `unit`, y).
        x: Says what x is.
        y: Says what y is.
        unit: Of x.
    """
    size, said = scale(unit, max(at for at, _ in found.values()))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        xs = [at / size for at, _ in found.values()]
        ys = [value for _, value in found.values()]
        for place, point in enumerate(zip(xs, ys, strict=True)):
            axes.plot(
                *point, marker=MARKS[place % len(MARKS)], ms=7, color=SERIES[place % len(SERIES)],
                mec=GROUND, mew=0.8, zorder=3,
            )  # fmt: skip
        spread = (max(ys) - min(ys)) or 0.1 * abs(ys[0]) or 0.1
        axes.set_xlim(0, max(xs) * 1.12)
        axes.set_ylim(min(ys) - 0.45 * spread, max(ys) + 0.45 * spread)
        axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", nbins=7)
        axes.set_xlabel(with_unit(x, said))
        bare(axes, y)
        _name(figure, axes, dict(zip(found, zip(xs, ys, strict=True), strict=True)))

    return Plot(to_svg(name, title, 270, draw), said)


def _name(figure: Any, axes: Any, found: Mapping[str, tuple[float, float]]) -> None:
    """Write each name where it covers least: no other name, no point, no edge."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    spots = [axes.transData.transform(point) for point in found.values()]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in spots]
    for (label, point), own in zip(found.items(), list(taken), strict=True):
        best: tuple[float, Any, Any] | None = None
        for offset in PLACES:
            side = "left" if offset[0] > 0 else "right" if offset[0] < 0 else "center"
            far = abs(offset[1]) >= 20
            text = axes.annotate(
                short(label, 34), point, xytext=offset, textcoords="offset points", size=TEXT,
                ha=side, va="center", color=INK,
                arrowprops={"arrowstyle": "-", "color": SOFT, "lw": 0.6} if far else None,
            )  # fmt: skip
            text.set_in_layout(False)
            text.get_window_extent()  # puts it in its place
            box = Text.get_window_extent(text).padded(1)  # without the line to its point
            cost = sum(1.0 for other in taken if other is not own and box.overlaps(other))
            inside = frame.containsx(box.x0) and frame.containsx(box.x1)
            inside = inside and frame.containsy(box.y0) and frame.containsy(box.y1)
            cost += 0.0 if inside else 2.0
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, text, box)
            else:
                text.remove()
            if best[0] == 0:
                break
        assert best is not None
        taken.append(best[2])
