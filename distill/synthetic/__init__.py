"""Made drawings of designs with the true hierarchy class > subclass > design > view.

Solids are put together by family, seen from several sides with hidden lines removed, and drawn by
a hand of a certain style. They serve tests, the demonstration and training; their numbers begin
with "MADE" so that nobody takes them for registered designs.
"""

from __future__ import annotations

from distill.synthetic.dataset import GeneratedSet, contact_sheet, generate
from distill.synthetic.design import SyntheticDesign, draw, make_design
from distill.synthetic.families import FAMILIES
from distill.synthetic.parts import Assembly, Family, Part
from distill.synthetic.strokes import VIEWS, Style

__all__ = [
    "FAMILIES",
    "VIEWS",
    "Assembly",
    "Family",
    "GeneratedSet",
    "Part",
    "Style",
    "SyntheticDesign",
    "contact_sheet",
    "draw",
    "generate",
    "make_design",
]
