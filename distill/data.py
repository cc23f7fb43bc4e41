"""Drawings for training: cut once, kept on disk as small squares, read from there by row.

Each source is a scheme of its own: whether "06-01" of one office and "D06/334" of another mean the
same is not known, so figures of two schemes are never compared, neither in a batch nor in
validation. With `one_scheme` the user says that they do mean the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.augment import Squares
from distill.config import TrainConfig
from distill.cutting import cut_source
from distill.drawing_cache import CutSource, Stack
from distill.leaks import NEAR, Signatures, linked
from edge_retrieval.arrays import Codes, Images
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import SourceError
from edge_retrieval.progress import Track, silent
from edge_retrieval.sources import Problem
from edge_retrieval.split import Keep
from edge_retrieval.taxonomy import partial_codes

SURER = (0.98, 0.99, 0.995, 0.999)
"""Tried in turn where plain shapes, each like the next, would chain most designs to one group."""


@dataclass(frozen=True)
class Scheme:
    """Figures under one label tree.

    Attributes:
        name: Of the source, unique in the run; "all" with `one_scheme`.
        levels: Names, coarse to fine; the last is "design".
        codes: ``(N, L)`` of the figures; -1 where a design lacks a level. The design is always
            known: it is told by its number alone.
        rows: ``(N,)`` their row numbers in `Drawings`.
    """

    name: str
    levels: tuple[str, ...]
    codes: Codes
    rows: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> Scheme:
        """Return the scheme with some of its figures."""
        return Scheme(self.name, self.levels, self.codes[kept], self.rows[kept])

    def renumbered(self) -> Scheme:
        """Return the scheme with designs counted 0, 1, ... without gaps, in order of their codes.

        After a split the codes of one side have gaps; a loss with a weight a design wants none.
        """
        codes = self.codes.copy()
        codes[:, -1] = np.unique(codes[:, -1], return_inverse=True)[1].reshape(-1)
        return Scheme(self.name, self.levels, codes, self.rows)


@dataclass(frozen=True)
class Drawings:
    """Every figure of some sources.

    Attributes:
        masters: ``(N, M, M)`` uint8 squares, larger than the input: what augmentation starts from.
        fitted: ``(N, S, S)`` uint8 squares of the input's size: what an encoder is to see.
        schemes: One a source; with `one_scheme` one in all.
        designs: ``(N,)`` numbers of the designs, as the source has them.
        problems: What could not be read, and was left out.
        preprocessing: How `fitted` was made.
        signatures: ``(N, K)`` float16, what near-duplicates are told by; see `distill.leaks`.
        digest: SHA-256 of what was cut, with its labels, and of what is left out.
        parts: The same of each source, in order, whole.
        keep: Tells by its number whether a design is wanted; None: all are.
        left_out: Designs that are not.
    """

    masters: Stack
    fitted: Stack
    schemes: tuple[Scheme, ...]
    designs: tuple[str, ...]
    problems: tuple[Problem, ...]
    preprocessing: Preprocessing
    signatures: Signatures
    digest: str
    parts: tuple[str, ...]
    keep: Keep | None = None
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.fitted)

    def images(self, rows: NDArray[np.int64]) -> Images:
        """Return figures as `drawing.fit` gives them, bit for bit: ``(N, C, S, S)``."""
        return normalised(self.fitted[rows], self.preprocessing)

    def split(self, share: float, seed: int) -> tuple[tuple[Scheme, ...], tuple[Scheme, ...]]:
        """Return training and held-out schemes.

        Numbers that differ only in the last digit go to the same side: consecutive registrations
        are often sibling designs of one maker. So do designs with half of their figures in common.
        Equal (share, seed) give the same split.
        """
        numbers = sorted(set(self.designs))
        place = {number: row for row, number in enumerate(numbers)}
        design = np.array([place[number] for number in self.designs], np.int64)  # (N,)
        names, block = np.unique([_block(number) for number in numbers], return_inverse=True)
        block = block.reshape(-1)
        held: list[int] = []
        if share > 0:
            group = self._groups(block, design, share)
            order = sorted(set(group.tolist()), key=lambda one: _hash(f"{seed}/{names[one]}"))
            held = _held(order, np.bincount(group), share)
        is_held = np.isin(group, held)[design] if held else np.zeros(len(design), bool)  # (N,)
        sides = []
        for side in (~is_held, is_held):
            parts = (scheme.only(side[scheme.rows]) for scheme in self.schemes)
            sides.append(tuple(part for part in parts if len(part.rows)))
        return sides[0], sides[1]

    def _groups(
        self, block: NDArray[np.int64], design: NDArray[np.int64], share: float
    ) -> NDArray[np.int64]:
        """Return ``(D,)``: the group of each design, by the least block of numbers in it.

        Args:
            block: ``(D,)`` of each design.
            design: ``(N,)`` of each figure.
            share: To be held out.
        """
        for threshold in (NEAR, *SURER):
            group = linked(self.signatures, design, block, threshold=threshold)
            if len(group) - np.bincount(group).max() >= share * len(group):
                return group
        return block


def _held(order: Sequence[int], sizes: NDArray[np.int64], share: float) -> list[int]:
    """Take groups in order while they fit into the share; one is always left to train on.

    A group that is larger than what is still wanted is passed over: alike drawings may join many
    designs to one group. Where no group fits, the smallest one is taken.
    """
    wanted = round(share * int(sizes.sum()))
    if len(order) < 2:
        return []
    held: list[int] = []
    count = 0
    for group in order:
        if count + sizes[group] <= wanted and len(held) < len(order) - 1:
            held.append(group)
            count += int(sizes[group])
    return held or [min(order, key=lambda group: int(sizes[group]))]


def normalised(squares: Squares, preprocessing: Preprocessing) -> Images:
    """Return ``(N, C, S, S)`` float32 of ``(N, S, S)`` uint8, with `fit`'s own arithmetic."""
    grey = np.arange(256, dtype=np.float32) / np.float32(255)
    table = (grey - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
    images: Images = table.take(squares, mode="clip")[:, None]  # all are in the table: no check
    return images if preprocessing.channels == 1 else images.repeat(preprocessing.channels, axis=1)


def load_drawings(
    sources: Sequence[Path],
    config: TrainConfig,
    *,
    cache: Path,
    track: Track = silent,
    labelled: bool = True,
    keep: Keep | None = None,
) -> Drawings:
    """Read and cut every drawing sheet of some sources; front pages are left out.

    Args:
        sources: Folders, archives or tables that `open_source` reads.
        config: Its `size`, `channels` and `one_scheme` are used.
        cache: A folder. What was cut is kept there, one folder a source, and found again as long
            as the source's files (names, sizes, times) and the way of cutting are the same.
        track: Shows progress.
        labelled: Leave out designs without a class; each is a problem. If not, they are kept, with
            nothing known above the design.
        keep: Tells by its number whether a design is wanted; None: all are. What is not wanted is
            cut and kept in the cache all the same, and in no other way used.

    Raises:
        ConfigError: The cache cannot be written: the disk is full, say.
        SourceError: A source cannot be read at all, or holds no design to train on.
    """
    preprocessing = Preprocessing(size=config.size, channels=config.channels)
    parts = [cut_source(path, preprocessing, cache, track) for path in sources]
    names = [path.stem or "source" for path in sources]
    drawings = joined(
        parts, names, preprocessing, labelled=labelled, one_scheme=config.one_scheme, keep=keep
    )
    if drawings is None:
        where = ", ".join(map(str, sources)) or "no source"
        what = "a labelled design" if labelled else "a design"
        what += " of the wanted part of the split" if keep is not None else ""
        first = next((problem for part in parts for problem in part.problems), None)
        raise SourceError(
            f"{where}: no drawing of {what}"
            + (f"; the first problem is {first.where}: {first.reason}" if first else ""),
            hint="give a source whose designs have a class: see edge-ret train --help",
        )
    return drawings


def joined(
    parts: Sequence[CutSource],
    names: Sequence[str],
    preprocessing: Preprocessing,
    *,
    labelled: bool = True,
    one_scheme: bool = False,
    keep: Keep | None = None,
) -> Drawings | None:
    """Put sources together as `load_drawings` does; None if no figure is left."""
    problems: list[Problem] = []
    paths: list[list[_Path]] = []  # of each source, one a figure that is kept
    rows: list[int] = []
    left_out: list[str] = []
    start = 0
    for part in parts:
        paths.append([])
        problems += part.problems
        for design in part.designs:
            if keep is not None and not keep(design.number):
                left_out.append(design.number)
            elif design.labels or not labelled:
                rows += range(start, start + design.figures)
                paths[-1] += [_Path(design.labels, design.number)] * design.figures
            else:
                problems.append(Problem(design.where, "no class is known: not used for training"))
            start += design.figures
    if not rows:
        return None
    some = None if len(rows) == start else np.array(rows, np.int64)
    return Drawings(
        Stack([part.masters for part in parts], some),
        Stack([part.fitted for part in parts], some),
        _schemes([list(chain(*paths))], ["all"]) if one_scheme else _schemes(paths, names),
        tuple(path.number for path in chain(*paths)),
        tuple(problems),
        preprocessing,
        np.concatenate([part.signatures for part in parts])[slice(None) if some is None else some],
        hashlib.sha256("".join([*(part.digest for part in parts), *left_out]).encode()).hexdigest(),
        tuple(part.digest for part in parts),
        keep,
        len(set(left_out)),
    )


@dataclass(frozen=True)
class _Path:
    """What a source says of a design: labels coarse to fine, perhaps none, and its number."""

    labels: tuple[str, ...]
    number: str


def _schemes(paths: Sequence[Sequence[_Path]], names: Sequence[str]) -> tuple[Scheme, ...]:
    """Make a scheme of each list of figures; they stand one after the other in `Drawings`."""
    schemes: list[Scheme] = []
    start = 0
    for name, own in zip(names, paths, strict=True):
        rows = np.arange(start, start + len(own), dtype=np.int64)
        start += len(own)
        if own:
            levels, codes = partial_codes((path.labels, path.number) for path in own)
            unique = f"{name}-{len(schemes)}" if schemes else name
            while any(unique == scheme.name for scheme in schemes):  # the first is "x-1", say
                unique += "+"
            schemes.append(Scheme(unique, levels, codes, rows))
    return tuple(schemes)


def _block(number: str) -> str:
    """Return a number without its last digit: "USD0909824" -> "USD090982"."""
    return number[:-1] if number[-1:].isdigit() else number


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
