"""A matplotlib figure as inline SVG: real text in the page's font, colours that follow its theme.

Figures are drawn in placeholder colours, and each becomes a variable of the page's style: the
browser then decides between light, dark and print. Equal figures are equal bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from typing import Any

from edge_retrieval.errors import MissingExtraError

WIDTH = 380.0
"""Of every plot, in its own units: about the CSS pixels of a phone, where a unit is a pixel."""
TEXT = 10.5
"""Size of letters, in the same units."""

INK, SOFT, LINE, GROUND = "#010101", "#010102", "#010103", "#010104"
SERIES = tuple(f"#01020{number}" for number in range(1, 8))
VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", GROUND: "--ground"} | {
    colour: f"--s{number}" for number, colour in enumerate(SERIES, start=1)
}
"""Placeholder -> variable of the page's style."""

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # "$" in a name is a letter
    "font.family": "DejaVu Sans",  # wider than a page's font: what fits here fits there
    "font.size": TEXT,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.labelsize": TEXT,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "xtick.major.pad": 6.0,
    "ytick.major.pad": 5.0,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
}


def require() -> None:
    """Check that plots can be drawn, before a bench that takes minutes; imports nothing.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError.of("the page of a benchmark", "report")


def to_svg(name: str, title: str, height: float, draw: Callable[[Any], None]) -> str:
    """Return what `draw` puts on an empty figure as an SVG element.

    Args:
        name: Unlike that of any other plot of the page: the ids in the plot start with it.
        title: What a screen reader says.
        height: In units of which the figure is `WIDTH` wide; `TEXT` is of the same.
        draw: Fills a matplotlib figure, colours from `VARIABLES`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require()
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Whatever the user's matplotlibrc says.
    with (
        style.context({**_SETTINGS, "svg.hashsalt": name}, after_reset=True),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph")  # the page's font may have it
        layout = ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02, hspace=0.07, wspace=0.03)
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout=layout)
        draw(figure)
        for artist in figure.findobj():
            artist.set_clip_on(False)  # all that is drawn lies within
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _inlined(text.getvalue(), name, title, height)


def _inlined(svg: str, name: str, title: str, height: float) -> str:
    """Take from a document what an element within a page does not need, and what would leak."""
    svg = svg[svg.index("<svg") :]
    for waste in (r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<!--.*?-->"):
        svg = re.sub(waste, "", svg, flags=re.DOTALL)
    svg = re.sub("<[^>]*>", lambda found: _tag(found[0], name), svg)  # never what people wrote
    svg = re.sub(r">\s+<", "><", svg)
    opening = f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">'
    return opening + svg[svg.index(">") + 1 :].strip()


def _tag(tag: str, name: str) -> str:
    """Return one tag with the page's colours and font, and ids that no other plot has."""
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'\b(?:xlink:)?href="#', f'href="#{name}-', tag)
    tag = re.sub(r"\bfont: (?:(\d+) )?([\d.]+px) [^;\"]*", _font, tag)  # matplotlib 3.8
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", tag)
    tag = re.sub("#01010[1-4]|#01020[1-7]", lambda found: f"var({VARIABLES[found[0]]})", tag)
    tag = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", tag)
    return re.sub(r"\s+", " ", tag)


def _font(found: re.Match[str]) -> str:
    return f"font-size: {found[2]}" + (f"; font-weight: {found[1]}" if found[1] else "")
