"""Drawings held in memory for training: cut once, kept as small squares, cached on disk.

Each source is a scheme of its own: whether "06-01" of one office and "D06/334" of another mean the
same is not known, so figures of two schemes are never compared, neither in a batch nor in
validation.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.augment import Squares
from distill.config import TrainConfig
from edge_retrieval.arrays import Codes, Images
from edge_retrieval.drawing import (
    CUT_VERSION,
    FIT_VERSION,
    FigureImage,
    Preprocessing,
    cut_sheet,
    fit,
)
from edge_retrieval.errors import DrawingError, SourceError
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import available_cores
from edge_retrieval.sources import Design, Problem, open_source
from edge_retrieval.taxonomy import Taxonomy

CACHE_SCHEMA = 1
MASTER_RATIO = 1.5
"""Side of a master over the input's: room to tilt and stretch without losing lines."""
LEVELS = ("class", "subclass", "design")


@dataclass(frozen=True)
class Scheme:
    """The figures of one source under one label tree.

    Attributes:
        name: Of the source, unique in the run.
        levels: Names, coarse to fine; the last is "design".
        codes: ``(N, L)`` of the figures.
        rows: ``(N,)`` their row numbers in `Drawings`.
    """

    name: str
    levels: tuple[str, ...]
    codes: Codes
    rows: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> Scheme:
        """Return the scheme with some of its figures."""
        return Scheme(self.name, self.levels, self.codes[kept], self.rows[kept])


@dataclass(frozen=True)
class Drawings:
    """Every figure of some sources.

    Attributes:
        masters: ``(N, M, M)`` uint8 squares, larger than the input: what augmentation starts from.
        fitted: ``(N, S, S)`` uint8 squares of the input's size: what an encoder is to see.
        schemes: One a source and depth of labels.
        designs: ``(N,)`` numbers of the designs, as the source has them.
        problems: What could not be read, and was left out.
        preprocessing: How `fitted` was made.
    """

    masters: Squares
    fitted: Squares
    schemes: tuple[Scheme, ...]
    designs: tuple[str, ...]
    problems: tuple[Problem, ...]
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.fitted)

    def images(self, rows: NDArray[np.int64]) -> Images:
        """Return figures as `drawing.fit` gives them, bit for bit: ``(N, C, S, S)``."""
        return normalised(self.fitted[rows], self.preprocessing)

    def split(self, share: float, seed: int) -> tuple[tuple[Scheme, ...], tuple[Scheme, ...]]:
        """Return training and held-out schemes.

        Numbers that differ only in the last digit go to the same side: consecutive registrations
        are often sibling designs of one maker. Equal (share, seed) give the same split.
        """
        blocks = np.array([_block(number) for number in self.designs])
        names = sorted(set(blocks.tolist()), key=lambda name: _hash(f"{seed}/{name}"))
        designs_of: dict[str, set[str]] = {}
        for block, number in zip(blocks.tolist(), self.designs, strict=True):
            designs_of.setdefault(block, set()).add(number)
        wanted = share * len(set(self.designs))
        held: set[str] = set()
        count = 0
        for name in names[:-1]:  # at least one block is trained on
            if count >= wanted:
                break
            held.add(name)
            count += len(designs_of[name])
        is_held = np.array([block in held for block in blocks.tolist()], dtype=bool)  # (N,)
        sides = []
        for side in (~is_held, is_held):
            parts = (scheme.only(side[scheme.rows]) for scheme in self.schemes)
            sides.append(tuple(part for part in parts if len(part.rows)))
        return sides[0], sides[1]


def normalised(squares: Squares, preprocessing: Preprocessing) -> Images:
    """Return ``(N, C, S, S)`` float32 of ``(N, S, S)`` uint8, with `fit`'s own arithmetic."""
    grey = np.arange(256, dtype=np.float32) / np.float32(255)
    table = (grey - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
    return np.repeat(table[squares][:, None], preprocessing.channels, axis=1)


def load_drawings(
    sources: Sequence[Path], config: TrainConfig, *, cache: Path, track: Track = silent
) -> Drawings:
    """Read and cut every drawing sheet of some sources; front pages are left out.

    Args:
        sources: Folders, archives or tables that `open_source` reads.
        config: Its `size` and `channels` are used.
        cache: A folder. What was cut is kept there, one file a source, and found again as long
            as the source's files (names, sizes, times) and the way of cutting are the same.
        track: Shows progress.

    Raises:
        SourceError: A source cannot be read at all, or holds no labelled design.
    """
    preprocessing = Preprocessing(size=config.size, channels=config.channels)
    parts = [_source(path, preprocessing, cache, track) for path in sources]
    if not any(len(part.fitted) for part in parts):
        raise SourceError(
            f"{', '.join(map(str, sources)) or 'no source'}: no drawing of a labelled design",
            hint="give a source whose designs have a class: see edge-ret train --help",
        )
    schemes: list[Scheme] = []
    problems = [problem for part in parts for problem in part.problems]
    start = 0
    for path, part in zip(sources, parts, strict=True):
        for scheme in _schemes(part.paths, start):
            name = "-".join([path.stem or "source", *map(str, [len(schemes)] * bool(schemes))])
            schemes.append(Scheme(name, scheme.levels, scheme.codes, scheme.rows))
        start += len(part.fitted)
    return Drawings(
        np.concatenate([part.masters for part in parts]),
        np.concatenate([part.fitted for part in parts]),
        tuple(schemes),
        tuple(label_path[-1] for part in parts for label_path in part.paths),
        tuple(problems),
        preprocessing,
    )


@dataclass(frozen=True)
class _Part:
    """The figures of one source; `paths[i]` is the label path of figure i, the design last."""

    masters: Squares
    fitted: Squares
    paths: list[tuple[str, ...]]
    problems: list[Problem]


def _schemes(paths: list[tuple[str, ...]], start: int) -> Iterator[Scheme]:
    """Make one scheme for each depth of label path; the design is the finest level."""
    depth_of = np.array([len(path) for path in paths], dtype=np.int64)
    for depth in sorted(set(depth_of.tolist()), reverse=True):
        rows = np.flatnonzero(depth_of == depth)
        coarse = LEVELS[:-1] if depth == 3 else tuple(f"level{n + 1}" for n in range(depth - 1))
        levels = (*coarse, LEVELS[-1])
        taxonomy = Taxonomy(levels)
        codes = taxonomy.encode((paths[row] for row in rows), grow=True)
        yield Scheme("", levels, codes, start + rows)


def _source(path: Path, preprocessing: Preprocessing, cache: Path, track: Track) -> _Part:
    file = cache / f"{_key(path, preprocessing)}.npz"
    if file.is_file():
        try:
            return _read_cache(file)
        except _DAMAGED:  # cut short, say: cut the source again
            file.unlink(missing_ok=True)
    part = _cut_source(path, preprocessing, track)
    _write_cache(file, part)
    return part


def _cut_source(path: Path, preprocessing: Preprocessing, track: Track) -> _Part:
    problems: list[Problem] = []
    large = Preprocessing(size=round(preprocessing.size * MASTER_RATIO))
    masters: list[Squares] = []
    fitted: list[Squares] = []
    paths: list[tuple[str, ...]] = []
    with ThreadPoolExecutor(available_cores()) as pool:  # Pillow works outside Python's lock
        designs = track(open_source(path), f"Reading {path.name}")
        for result in _in_order(pool, designs, large, preprocessing):
            if isinstance(result, Problem):
                problems.append(result)
                continue
            labels, pairs, faults = result
            problems += faults
            for master, square in pairs:
                masters.append(master)
                fitted.append(square)
                paths.append(labels)
    size = preprocessing.size
    return _Part(
        np.array(masters, np.uint8).reshape(-1, large.size, large.size),
        np.array(fitted, np.uint8).reshape(-1, size, size),
        paths,
        problems,
    )


_Cut = tuple[tuple[str, ...], list[tuple[Squares, Squares]], list[Problem]]


def _in_order(
    pool: ThreadPoolExecutor,
    designs: Iterable[Design | Problem],
    large: Preprocessing,
    small: Preprocessing,
) -> Iterator[_Cut | Problem]:
    """Cut designs on all cores, a few ahead, and give them back in order."""
    waiting: list[Any] = []
    for design in designs:
        if isinstance(design, Problem):
            yield design
            continue
        waiting.append(pool.submit(_cut_design, design, large, small))
        if len(waiting) > 16:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _cut_design(design: Design, large: Preprocessing, small: Preprocessing) -> _Cut:
    pairs: list[tuple[Squares, Squares]] = []
    problems: list[Problem] = []
    if not design.labels:
        problems.append(Problem(design.where, "no class is known: not used for training"))
        return (), [], problems
    for sheet in design.sheets:
        if sheet.role == "front":
            continue
        try:
            for figure in cut_sheet(sheet.read(), where=sheet.where, boxes=sheet.boxes):
                pairs.append((_square(figure, large), _square(figure, small)))
        except DrawingError as error:
            problems.append(Problem(sheet.where, str(error)))
    return (*design.labels, design.number), pairs, problems


def _square(figure: FigureImage, preprocessing: Preprocessing) -> Squares:
    """Return the ``(S, S)`` uint8 square that `fit` normalises."""
    plain = Preprocessing(size=preprocessing.size, mean=0.0, std=1.0)
    square: Squares = np.rint(fit(figure, plain)[0] * 255).astype(np.uint8)
    return square


def _key(path: Path, preprocessing: Preprocessing) -> str:
    """Return a name that changes when the source's files or the way of cutting do."""
    digest = hashlib.sha256()
    ways = (CACHE_SCHEMA, CUT_VERSION, FIT_VERSION, preprocessing.size, MASTER_RATIO)
    digest.update(f"{ways}\n".encode())
    root = path.resolve()
    files = [root]
    if root.is_dir():
        files = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    for file in sorted(files):
        if file.is_file():
            stat = file.stat()
            digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _write_cache(file: Path, part: _Part) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "paths": part.paths,
        "problems": [[problem.where, problem.reason] for problem in part.problems],
    }
    text = np.frombuffer(json.dumps(said).encode(), np.uint8)
    partial = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with partial.open("wb") as out:
            np.savez(out, masters=part.masters, fitted=part.fitted, said=text)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


_DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def _read_cache(file: Path) -> _Part:
    with file.open("rb") as raw, np.load(raw, allow_pickle=False) as stored:
        said = json.loads(stored["said"].tobytes())
        return _Part(
            stored["masters"],
            stored["fitted"],
            [tuple(path) for path in said["paths"]],
            [Problem(where, reason) for where, reason in said["problems"]],
        )


def _block(number: str) -> str:
    """Return a number without its last digit: "USD0909824" -> "USD090982"."""
    return number[:-1] if number[-1:].isdigit() else number


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
