"""Figures of a source as encoders are to see them: cut once, kept as small squares by size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Images, Pixels
from edge_retrieval.design_number import spelled_once
from edge_retrieval.drawing import FigureImage, Preprocessing, cut_sheet, fit, whole_sheet
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.sources import Design, Problem, open_source
from edge_retrieval.taxonomy import LabelPath

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figures:
    """The figures of some designs; N of them.

    Attributes:
        designs: ``(N,)`` numbers.
        labels: ``(N,)`` what is known above the design, coarse to fine.
        squares: Side -> ``(N, S, S)`` uint8, as `fit` makes them.
        skipped: What could not be read, in words.
    """

    designs: tuple[str, ...]
    labels: tuple[LabelPath, ...]
    squares: dict[int, NDArray[np.uint8]]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.designs)

    def images(self, preprocessing: Preprocessing, rows: slice) -> Images:
        """Return some, bit for bit as `fit` gives them: ``(n, C, S, S)`` float32."""
        grey = np.arange(256, dtype=np.float32) / np.float32(255)
        table = (grey - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
        plane = table[self.squares[preprocessing.size][rows]][:, None]  # (n, 1, S, S)
        return np.ascontiguousarray(plane.repeat(preprocessing.channels, axis=1))

    def only(self, kept: NDArray[np.bool_]) -> Figures:
        """Return some of them."""
        rows = np.flatnonzero(kept)
        return Figures(
            tuple(self.designs[row] for row in rows),
            tuple(self.labels[row] for row in rows),
            {size: squares[rows] for size, squares in self.squares.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[Figures]) -> Figures:
        """Put the figures of several sources one after the other."""
        return cls(
            tuple(number for part in parts for number in part.designs),
            tuple(path for part in parts for path in part.labels),
            {size: np.concatenate([p.squares[size] for p in parts]) for size in parts[0].squares},
        )

    def without_designs(self, numbers: Sequence[str]) -> Figures:
        """Return them without some designs, in any spelling of their numbers."""
        unwanted = {spelled_once(number) for number in numbers}
        return self.only(np.array([spelled_once(n) not in unwanted for n in self.designs], bool))


def read_squares(source: Path, sizes: Sequence[int]) -> Figures:
    """Cut every drawing sheet of a source; front pages are left out."""
    designs: list[str] = []
    labels: list[LabelPath] = []
    squares: dict[int, list[Pixels]] = {size: [] for size in sizes}
    skipped: list[str] = []
    for design, figures in _cut(source, skipped):
        for figure in figures:
            designs.append(design.number)
            labels.append(design.labels)
            for size, kept in squares.items():
                grey = fit(figure, Preprocessing(size=size, mean=0.0, std=1.0))[0]  # (S, S)
                kept.append(np.rint(grey * 255).astype(np.uint8))
    stacked = {
        size: np.stack(kept) if kept else np.empty((0, size, size), np.uint8)
        for size, kept in squares.items()
    }
    named = (text.replace(str(source), source.name) for text in skipped)  # not where it lies here
    return Figures(tuple(designs), tuple(labels), stacked, tuple(named))


def read_figures(source: Path) -> tuple[list[Pixels], list[LabelPath], list[str]]:
    """Cut every sheet of a source; return masters, label paths and what was skipped."""
    skipped: list[str] = []
    masters: list[Pixels] = []
    paths: list[LabelPath] = []
    for design, figures in _cut(source, skipped):
        masters += [figure.pixels for figure in figures]
        paths += [(*design.labels, design.number)] * len(figures)
    return masters, paths, skipped


def _cut(source: Path, skipped: list[str]) -> Iterator[tuple[Design, list[FigureImage]]]:
    for item in open_source(source):
        if isinstance(item, Problem):
            skipped.append(f"{item.where}: {item.reason}")
            continue
        for sheet in item.sheets:
            if sheet.role == "front":
                continue
            try:
                data = sheet.read()
                if sheet.single:
                    yield item, [whole_sheet(data, where=sheet.where)]
                else:
                    yield item, cut_sheet(data, where=sheet.where, boxes=sheet.boxes)
            except EdgeRetrievalError as error:
                skipped.append(str(error))


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)
