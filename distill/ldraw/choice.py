"""Which parts are drawn: many kinds before many of a kind, and every mould once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from distill.ldraw.archive import BrokenFileError
from distill.ldraw.parts import MARKS, Library, Part, Shape
from distill.synthetic.dice import seed_of
from edge_retrieval.sources.design import Problem

KINDS = frozenset({"Part", "Shortcut", "Unofficial_Part", "Unofficial_Shortcut"})

IN_CATEGORY, IN_GROUP = 2, 4
"""How many parts of a category, and of a group, come before the next one's turn."""

FEWEST_LINES = 24
"""A part of fewer lines is a bare plate or block."""

MOST_LINES = 12_000
MOST_TRIANGLES = 20_000
"""Parts of more lines or faces turn black at the size of a figure: large baseplates."""

THINNEST = 0.04
"""A part whose second extent is a smaller share of its first is a stick in every view."""


class Chooser:
    """Chooses parts one by one; what it passes over it can tell.

    Args:
        library: What to choose from.

    Attributes:
        passed_over: Reason -> how many parts were not taken for it.
        problems: Parts that cannot be read.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.passed_over: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self._moulds: set[tuple[int, ...]] = set()

    def choose(self, most: int) -> Iterator[tuple[Part, Shape]]:
        """Yield at most that many parts; fewer are the beginning of more."""
        chosen = 0
        for part in in_order(self.library.parts()):
            if chosen == most:
                return
            if part.title[:1] in MARKS or part.kind not in KINDS:
                self.passed_over["pieces of parts and aliases"] += 1
                continue
            try:
                shape = self.library.shape(part)
            except BrokenFileError as error:
                where = f"{self.library.archive.path}!parts/{part.name}.dat"
                self.problems.append(Problem(where, str(error)))
                continue
            reason = self._against(shape)
            if reason:
                self.passed_over[reason] += 1
                continue
            chosen += 1
            yield part, shape

    def _against(self, shape: Shape) -> str:
        """Return why a shape is not drawn; nothing if it is."""
        lines = len(shape.edges) + len(shape.conditionals)
        if lines > MOST_LINES or len(shape.triangles) > MOST_TRIANGLES:
            return "too dense"
        if lines < FEWEST_LINES or not len(shape.triangles):
            return "too plain"
        mould = mould_of(shape)
        extents = np.ptp(shape.triangles.reshape(-1, 3), axis=0)
        if np.sort(extents)[1] < THINNEST * extents.max():
            return "too thin"
        if mould in self._moulds:
            return "the same mould as another"
        self._moulds.add(mould)
        return ""


def in_order(parts: Iterable[Part]) -> list[Part]:
    """Return parts so that any beginning of the list is spread over categories and their groups.

    Categories take turns, two parts each, and within one its groups, so that even a small choice
    has categories and groups with several parts. Plain parts come before those with a pattern.
    """

    def mixed(part: Part) -> tuple[bool, int]:
        return "Pattern" in part.title, seed_of("ldraw", part.name)

    in_group: Counter[tuple[str, str]] = Counter()
    ranked: list[tuple[int, int, int, Part]] = []
    for part in sorted(parts, key=mixed):
        key = (part.category, part.group)
        ranked.append((in_group[key] // IN_GROUP, seed_of(*key), in_group[key], part))
        in_group[key] += 1
    in_category: Counter[str] = Counter()
    placed: list[tuple[int, str, int, Part]] = []
    for *_, part in sorted(ranked, key=lambda item: item[:3]):
        number = in_category[part.category]
        placed.append((number // IN_CATEGORY, part.category, number, part))
        in_category[part.category] += 1
    return [part for *_, part in sorted(placed, key=lambda item: item[:3])]


def mould_of(shape: Shape) -> tuple[int, ...]:
    """Return numbers that are equal for one mould with different prints, and for mirror images.

    Its extents and the length of its sharp edges, to about 1 %: prints add faces, not edges.
    """
    extents = np.sort(np.ptp(shape.triangles.reshape(-1, 3), axis=0))
    lengths = np.linalg.norm(shape.edges[:, 0] - shape.edges[:, 1], axis=1)
    numbers = np.array([*extents, lengths.sum()])
    return tuple(np.round(np.log(np.maximum(numbers, 0.01)) * 100).astype(int).tolist())
