"""Drawings of the parts of an LDraw library, with the hierarchy category > title group > part.

Parts are read from an archive, seen from several sides with hidden lines removed, and drawn by the
hands that draw the made designs. The library is CC BY 2.0: whoever passes drawings on names the
LDraw Parts Library.
"""

from __future__ import annotations

from distill.ldraw.archive import Archive, BrokenFileError, open_archive
from distill.ldraw.dataset import DrawnParts, generate_parts
from distill.ldraw.drawing import draw_part
from distill.ldraw.parts import Library, Part, Shape
from distill.ldraw.surface import Surface, build_surface

__all__ = [
    "Archive",
    "BrokenFileError",
    "DrawnParts",
    "Library",
    "Part",
    "Shape",
    "Surface",
    "build_surface",
    "draw_part",
    "generate_parts",
    "open_archive",
]
