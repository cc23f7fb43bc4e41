"""An archive of LDraw files, read once into memory and never unpacked to disk.

Every line of an LDraw file begins with its type: 0 a remark or a fact about the file, 1 another
file that a matrix puts in place, 2 an edge, 3 a triangle, 4 a quadrilateral, 5 a conditional line.

Source:
    https://www.ldraw.org/article/218.html, the LDraw.org file format, version 1.0.2.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import SourceError

Corners: TypeAlias = NDArray[np.float64]
"""(N, C, 3) float64: N pieces of C corners each, in LDraw units (0.4 mm)."""

FOLDERS = ("parts", "p")
"""Where a file that another one names is looked for, in this order."""

CORNERS = {"2": 2, "3": 3, "4": 4, "5": 4}
"""Line type -> how many points stand in the line, after its colour."""

NUMBERS = {kind: 3 * count for kind, count in CORNERS.items()} | {"1": 12}
"""Line type -> how many numbers stand in the line, after its colour."""


@dataclass(frozen=True)
class Reference:
    """A line of type 1: a file that is put in place.

    Attributes:
        name: The file as the line names it, with "/" between folders and in lower case.
        matrix: (3, 3), applied to its points.
        offset: (3,), added to them.
    """

    name: str
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        title: The first line.
        category: What `!CATEGORY` says, or nothing.
        kind: What `!LDRAW_ORG` says: "Part", "Shortcut", "Subpart", "Primitive"; or nothing.
    """

    title: str
    category: str
    kind: str


@dataclass(frozen=True)
class Model:
    """The geometry of one file as it stands, the files that it names not yet put in.

    Attributes:
        references: Files that are put in place.
        triangles: (N, 3, 3); a quadrilateral is two.
        edges: (N, 2, 3) lines that are always drawn.
        conditionals: (N, 4, 3): a line's two ends, and the two points that decide whether it is
            drawn: if both lie on one side of it on the screen.
    """

    references: tuple[Reference, ...]
    triangles: Corners
    edges: Corners
    conditionals: Corners


class BrokenFileError(Exception):
    """A file of the archive cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Archive:
    """The files of an LDraw library.

    Attributes:
        path: The archive.
        files: Path in lower case, "parts/s/3001s01.dat" -> content.
    """

    path: Path
    files: Mapping[str, bytes] = field(repr=False)

    def part_names(self) -> list[str]:
        """Return the files right below `parts/`, sorted: "3001.dat"."""
        paths = map(PurePosixPath, self.files)
        return sorted(path.name for path in paths if path.parent == PurePosixPath("parts"))

    def find(self, name: str) -> str:
        """Return the path of a file that a line names: "s/3001s01.dat", "stud.dat".

        Raises:
            BrokenFileError: It is not there.
        """
        for folder in FOLDERS:
            if f"{folder}/{name}" in self.files:
                return f"{folder}/{name}"
        raise BrokenFileError(f"{name} is not in the archive")

    def text(self, path: str) -> str:
        """Return a file's text; letters that are not UTF-8 are replaced."""
        return self.files[path].decode("utf-8", errors="replace")


def open_archive(path: Path) -> Archive:
    """Read a tar archive, compressed or not, that holds the folders `parts/` and `p/`.

    Raises:
        SourceError: It is not such an archive, or damaged.
    """
    hint = "name a tar archive of an LDraw library: folders parts/ and p/"
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    files[_inside(member.name)] = content.read()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}", hint=hint) from error
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise SourceError(f"{path} is not a tar archive, or damaged: {error}", hint=hint) from error
    found = Archive(path, files)
    if not found.part_names():
        raise SourceError(f"{path} holds no file in parts/", hint=hint)
    return found


def _inside(name: str) -> str:
    """Return a member's path from the library's folder on: "ldraw/parts/1.dat" is "parts/1.dat"."""
    pieces = name.lower().split("/")
    starts = [number for number, piece in enumerate(pieces[:-1]) if piece in FOLDERS]
    return "/".join(pieces[starts[0] :] if starts else pieces[-1:])


def read_header(text: str) -> Header:
    """Read what a file says of itself: the remarks before its first line of geometry."""
    title, *lines = text.splitlines() or [""]
    facts: dict[str, str] = {}
    for line in lines:
        if line[:1] in NUMBERS:
            break
        fact, _, value = line.partition(" ")[2].partition(" ")
        facts.setdefault(fact, value.strip())
    return Header(
        title=" ".join(title.split()[1:]),
        category=facts.get("!CATEGORY", ""),
        kind=facts.get("!LDRAW_ORG", "").partition(" ")[0],
    )


def parse(text: str, path: str) -> Model:
    """Read the geometry of one file.

    Args:
        text: Its content.
        path: What it is called in messages.

    Raises:
        BrokenFileError: A line of geometry cannot be read.
    """
    rows: dict[str, list[str]] = {kind: [] for kind in NUMBERS}
    names: list[str] = []
    for line in text.splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind == "1":
            pieces = rest.split(None, 13)
            rows[kind].append(" ".join(pieces[1:13]))
            names.append(pieces[13].replace("\\", "/").lower() if pieces[13:] else "")
        elif kind in rows:
            rows[kind].append(rest.lstrip().partition(" ")[2])
    numbers = {kind: _numbers(rows[kind], NUMBERS[kind], path) for kind in rows}
    if not all(names):
        raise BrokenFileError(f"{path}: a line of type 1 names no file")
    corners = {kind: numbers[kind].reshape(-1, count, 3) for kind, count in CORNERS.items()}
    quadrilaterals = corners["4"]
    halves = (corners["3"], quadrilaterals[:, [0, 1, 2]], quadrilaterals[:, [0, 2, 3]])
    return Model(
        references=tuple(
            Reference(name, row[3:].reshape(3, 3), row[:3])
            for name, row in zip(names, numbers["1"], strict=True)
        ),
        triangles=np.concatenate(halves),
        edges=corners["2"],
        conditionals=corners["5"],
    )


def _numbers(rows: Sequence[str], count: int, path: str) -> NDArray[np.float64]:
    """Return (N, count) numbers of N rows of text."""
    try:
        values = np.array(" ".join(rows).split(), np.float64)
        if all(len(row.split()) == count for row in rows) and np.isfinite(values).all():
            return values.reshape(-1, count)
    except ValueError:
        pass
    raise BrokenFileError(f"{path}: a line of geometry does not have {count} numbers")
