"""A part of an LDraw library with all that it refers to put in place, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.ldraw.archive import (
    Archive,
    BrokenFileError,
    Corners,
    Header,
    Model,
    parse,
    read_header,
)

DEEPEST = 40
"""Files within files; more is a circle."""

MARKS = "~=_|"
"""Before the title of what is not a part of its own: a piece of one, an alias, a moved file."""

SMALL_WORDS = frozenset({"and", "at", "for", "in", "of", "on", "or", "the", "to", "x"})


@dataclass(frozen=True)
class Shape:
    """Geometry in LDraw units; y points down and the front of a part faces -z.

    Attributes:
        triangles: (N, 3, 3).
        edges: (N, 2, 3) sharp edges.
        conditionals: (N, 4, 3) ends of a line, and the points that decide whether it is drawn.
    """

    triangles: Corners
    edges: Corners
    conditionals: Corners

    @classmethod
    def together(cls, shapes: Sequence[Shape]) -> Shape:
        """Return several shapes, at least one, as one."""
        return cls(
            np.concatenate([shape.triangles for shape in shapes]),
            np.concatenate([shape.edges for shape in shapes]),
            np.concatenate([shape.conditionals for shape in shapes]),
        )


@dataclass(frozen=True)
class Part:
    """One part of the library.

    Attributes:
        name: Its file without ".dat": "3001".
        title: "Brick 2 x 4".
        category: "Brick".
        group: What it is within its category, from its title: "Brick with Hole".
        kind: What LDraw calls the file: "Part", "Shortcut" (several parts), "Subpart".
    """

    name: str
    title: str
    category: str
    group: str
    kind: str


class Library:
    """Parts of an archive; files that several parts use are put together once.

    Args:
        archive: From `open_archive`.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._shared: dict[str, Shape] = {}

    def parts(self) -> list[Part]:
        """Return all parts by what their files say of themselves, in the order of their names."""
        parts = []
        for name in self.archive.part_names():
            header = read_header(self.archive.text(f"parts/{name}"))
            title = header.title.strip(MARKS)
            parts.append(
                Part(
                    name=name.removesuffix(".dat"),
                    title=header.title,
                    category=category_of(header),
                    group=group_of(title),
                    kind=header.kind,
                )
            )
        return parts

    def shape(self, part: Part) -> Shape:
        """Put a part together.

        Raises:
            BrokenFileError: It, or a file that it refers to, is missing or cannot be read.
        """
        path = f"parts/{part.name}.dat"
        return self._shape(parse(self.archive.text(path), path), path, ())

    def _shape(self, model: Model, path: str, above: tuple[str, ...]) -> Shape:
        """Return a file's own geometry and that of all it refers to."""
        if path in above or len(above) > DEEPEST:
            raise BrokenFileError(f"{path} refers to itself")
        shapes = [Shape(model.triangles, model.edges, model.conditionals)]
        for reference in model.references:
            try:
                inner = self._file(self.archive.find(reference.name), (*above, path))
            except BrokenFileError as error:
                raise BrokenFileError(f"{error}, which {path} refers to") from None
            shapes.append(
                Shape(
                    *(
                        corners @ reference.matrix.T + reference.offset
                        for corners in (inner.triangles, inner.edges, inner.conditionals)
                    )
                )
            )
        return Shape.together(shapes)

    def _file(self, path: str, above: tuple[str, ...]) -> Shape:
        """Return the geometry of a file that another one refers to."""
        if path in self._shared:
            return self._shared[path]
        shape = self._shape(parse(self.archive.text(path), path), path, above)
        if path.startswith("p/"):  # primitives; other files are used by few
            self._shared[path] = shape
        return shape


def category_of(header: Header) -> str:
    """Return what `!CATEGORY` says, or else the first word of the title, as LDraw has it."""
    words = header.title.strip(MARKS).split()
    return header.category or (words[0] if words else "Other")


def group_of(title: str) -> str:
    """Return the kind of thing that a title names, without sizes: "Brick 2 x 4 with Hole".

    It is the first two words, "Minifig Helmet"; where only one stands before "with", that and the
    first word after it: "Brick with Hole".
    """
    words = _words(title)
    plain = [word for word in words if word.lower() not in SMALL_WORDS]
    if "with" in plain[:2]:
        return " ".join(plain[: plain.index("with") + 2])
    return " ".join(plain[:2]) or "Other"


def _words(title: str) -> list[str]:
    """Return the words of a title, without numbers, sizes and marks: "~Door  1 x  4" is "Door"."""
    return re.findall(r"(?<![\w.])[A-Za-z][A-Za-z'/&-]*(?![\w.]*\d)", title.replace("_", " "))
