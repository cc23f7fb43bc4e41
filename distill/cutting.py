"""Source -> squares: every sheet cut on all cores and kept in the cache, or found there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from distill.augment import Squares
from distill.drawing_cache import DAMAGED, CutDesign, CutSource, Figures, read_cut, write_cut
from distill.leaks import SIGNATURE_VERSION
from edge_retrieval.drawing import (
    CUT_VERSION,
    FIT_VERSION,
    FigureImage,
    Preprocessing,
    cut_sheet,
    fit,
    whole_sheet,
)
from edge_retrieval.errors import DrawingError
from edge_retrieval.progress import Track
from edge_retrieval.provenance import available_cores
from edge_retrieval.sources import Design, Problem, Sheet, open_source

CACHE_SCHEMA = 3
MASTER_RATIO = 1.5
"""Side of a master over the input's: room to tilt and stretch without losing lines."""
AHEAD = 16
"""Designs that are cut before their turn."""


def cut_source(path: Path, preprocessing: Preprocessing, cache: Path, track: Track) -> CutSource:
    """Return what was cut of a source: from the cache, or cut now and kept there.

    Raises: as `load_drawings`.
    """
    folder = cache / _key(path, preprocessing)
    if folder.is_dir():
        try:
            return read_cut(folder)
        except DAMAGED:
            pass  # cut short, say: cut the source again
    large = Preprocessing(size=round(preprocessing.size * MASTER_RATIO))
    with ThreadPoolExecutor(available_cores()) as pool:  # Pillow works outside Python's lock
        designs = track(open_source(path), f"Reading {path.name}")
        cut = _in_order(pool, designs, large, preprocessing)
        write_cut(folder, cut, (large.size, preprocessing.size))
    return read_cut(folder)


_Cut = tuple[Figures, list[Problem]]


def _in_order(
    pool: ThreadPoolExecutor,
    designs: Iterable[Design | Problem],
    large: Preprocessing,
    small: Preprocessing,
) -> Iterator[Figures | Problem]:
    """Cut designs on all cores, a few ahead, and give them back in order."""
    waiting: list[Future[_Cut]] = []
    for design in designs:
        if isinstance(design, Problem):
            yield design
            continue
        waiting.append(pool.submit(_cut_design, design, large, small))
        if len(waiting) > AHEAD:
            yield from _told(waiting.pop(0).result())
    for future in waiting:
        yield from _told(future.result())


def _told(cut: _Cut) -> Iterator[Figures | Problem]:
    yield cut[0]
    yield from cut[1]


def _cut_design(design: Design, large: Preprocessing, small: Preprocessing) -> _Cut:
    pairs: list[tuple[Squares, Squares]] = []
    problems: list[Problem] = []
    for sheet in design.sheets:
        if sheet.role == "front":
            continue
        try:
            figures = _figures(sheet)
        except DrawingError as error:
            problems.append(Problem(sheet.where, str(error).removeprefix(f"{sheet.where}: ")))
            continue
        if not figures:
            problems.append(Problem(sheet.where, "no figure was found on it"))
        pairs += [(_square(figure, large), _square(figure, small)) for figure in figures]
    return (CutDesign(design.number, design.labels, design.where, len(pairs)), pairs), problems


def _figures(sheet: Sheet) -> list[FigureImage]:
    """Cut a sheet as a register does."""
    if sheet.single:
        return [whole_sheet(sheet.read(), where=sheet.where)]
    return list(cut_sheet(sheet.read(), where=sheet.where, boxes=sheet.boxes))


def _square(figure: FigureImage, preprocessing: Preprocessing) -> Squares:
    """Return the ``(S, S)`` uint8 square that `fit` normalises."""
    plain = Preprocessing(size=preprocessing.size, mean=0.0, std=1.0)
    square: Squares = np.rint(fit(figure, plain)[0] * 255).astype(np.uint8)
    return square


def _key(path: Path, preprocessing: Preprocessing) -> str:
    """Return a name that changes when the source's files or the way of cutting do."""
    digest = hashlib.sha256()
    versions = CACHE_SCHEMA, CUT_VERSION, FIT_VERSION, SIGNATURE_VERSION
    ways = (*versions, preprocessing.size, MASTER_RATIO)
    root = path.resolve()
    digest.update(f"{ways} {root}\n".encode())
    for file in sorted(_files(root)):
        if file.is_file():
            stat = file.stat()
            digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _files(root: Path) -> list[Path]:
    """Return a source's files, behind links as well; a link to a folder above it is not entered."""
    if not root.is_dir():
        return [root]
    found: list[Path] = []
    entered = {os.path.realpath(root)}
    for folder, folders, names in os.walk(root, followlinks=True):
        found += [Path(folder) / name for name in names]
        targets = {name: os.path.realpath(Path(folder) / name) for name in folders}
        folders[:] = [name for name in folders if targets[name] not in entered]
        entered |= {targets[name] for name in folders}
    return found
