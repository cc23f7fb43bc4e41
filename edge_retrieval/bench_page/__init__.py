"""A benchmark's report as one HTML page that a person understands at a glance.

whole.py     the page: headline, notes, cards, what it holds for, style
cards.py     report -> one card a question: caption, plot, table
plots.py     strips of samples, stacked bars, lines, growth
points.py    named points that do not cover one another
timeline.py  panels over time
axes.py      what all plots share
svg.py       a matplotlib figure as inline SVG whose colours follow the page's theme
"""

from edge_retrieval.bench_page.svg import require
from edge_retrieval.bench_page.whole import page

__all__ = ["page", "require"]
