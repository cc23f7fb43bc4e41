"""What was cut of a source, kept on disk: a folder of arrays that are mapped, never loaded whole.

    KEY/masters.npy   (N, M, M) uint8     KEY/signatures.npy   (N, K) float16, see `leaks`
    KEY/fitted.npy    (N, S, S) uint8     KEY/said.json        designs, labels, problems

A folder is written beside its place, figure by figure, and renamed when it is whole: what a killed
process leaves has another name and is not taken for a cache. Sizes and headers are checked when it
is opened; a flipped pixel is not looked for, since reading every byte would cost more than it
could harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from distill.augment import Squares
from distill.leaks import WIDTH, Signatures, signatures
from edge_retrieval.errors import ConfigError
from edge_retrieval.sources import Problem
from edge_retrieval.staging import staged

MASTERS, FITTED, SIGNATURES = "masters.npy", "fitted.npy", "signatures.npy"
STALE = 3600.0
"""Seconds without a write after which a half-written cache has no writer any more."""


class CutDesign(NamedTuple):
    """One design of a source, as its cache keeps it; `figures` counts what was cut of it."""

    number: str
    labels: tuple[str, ...]
    where: str
    figures: int


@dataclass(frozen=True)
class CutSource:
    """What was cut of a source; the figures of a design stand beside one another, in order.

    Attributes:
        masters: ``(N, M, M)`` uint8, mapped from the disk.
        fitted: ``(N, S, S)`` uint8, mapped from the disk.
        signatures: ``(N, K)`` float16 of `fitted`.
        designs: In order.
        problems: What could not be read.
        digest: SHA-256 of `fitted` and of all labels.
    """

    masters: Squares
    fitted: Squares
    signatures: Signatures
    designs: tuple[CutDesign, ...]
    problems: tuple[Problem, ...]
    digest: str


class Stack:
    """Squares of several sources, indexed as one array; only the rows asked for are read.

    It travels to other processes as the names of its files.

    Args:
        parts: ``(n, S, S)`` uint8 each, all of one S.
        rows: Which rows of the parts, one after the other, it shows; None: all.
    """

    def __init__(self, parts: Sequence[Squares], rows: NDArray[np.int64] | None = None) -> None:
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self._rows = rows
        count = int(self._starts[-1]) if rows is None else len(rows)
        self.shape: tuple[int, ...] = (count, *parts[0].shape[1:])

    def __len__(self) -> int:
        """Return the number of squares."""
        return self.shape[0]

    def __getitem__(self, rows: slice | ArrayLike) -> Squares:
        """Return ``(n, S, S)`` uint8, a copy in memory, of a slice or of n row numbers.

        Raises:
            IndexError: There is no such row.
        """
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        wanted = np.asarray(rows, np.int64).reshape(-1)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)}")
        if self._rows is not None:
            wanted = self._rows[wanted]
        part_of = np.searchsorted(self._starts, wanted, side="right") - 1
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for number in np.unique(part_of):
            here = np.flatnonzero(part_of == number)
            found[here] = self._parts[number][wanted[here] - self._starts[number]]
        return found

    def only(self, rows: NDArray[np.int64]) -> Stack:
        """Return some of its squares, by row number."""
        return Stack(self._parts, rows if self._rows is None else self._rows[rows])

    def followed_by(self, other: Stack) -> Stack:
        """Return the squares of both, one after the other."""
        starts = (0, int(self._starts[-1]))
        rows = [
            start + (np.arange(len(stack)) if stack._rows is None else stack._rows)
            for start, stack in zip(starts, (self, other), strict=True)
        ]
        return Stack((*self._parts, *other._parts), np.concatenate(rows))

    def __reduce__(self) -> tuple[Any, ...]:
        parts = [_Mapped.of(part) or part for part in self._parts]
        return _restored, (parts, self._rows)


class _Mapped(NamedTuple):
    """A mapped file by its name: sent to a process instead of all its bytes."""

    file: str
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, part: Squares) -> _Mapped | None:
        if not isinstance(part, np.memmap) or part.filename is None:
            return None
        return cls(str(part.filename), part.offset, part.shape)


def _restored(parts: Sequence[Squares | _Mapped], rows: NDArray[np.int64] | None) -> Stack:
    opened = [
        np.memmap(p.file, np.uint8, "r", p.offset, p.shape) if isinstance(p, _Mapped) else p
        for p in parts
    ]
    return Stack(opened, rows)


Figures = tuple[CutDesign, Sequence[tuple[Squares, Squares]]]
"""A design and, of each of its figures, the master and the fitted square."""


def write_cut(folder: Path, cut: Iterable[Figures | Problem], sides: tuple[int, int]) -> None:
    """Write what was cut, as it comes, into a folder that appears whole or not at all.

    Args:
        folder: Its place; replaced if it is there.
        cut: Designs with their figures, and problems.
        sides: Of a master and of a fitted square, pixels.

    Raises:
        ConfigError: It cannot be written: the disk is full, say.
    """
    designs: list[CutDesign] = []
    problems: list[Problem] = []
    try:
        _sweep(folder)
        with staged(folder) as stage, ExitStack() as opened:
            masters, fitted, signs = (
                opened.enter_context(_Growing(stage / name, shape, kind))
                for name, shape, kind in (
                    (MASTERS, (sides[0], sides[0]), np.uint8),
                    (FITTED, (sides[1], sides[1]), np.uint8),
                    (SIGNATURES, (WIDTH,), np.float16),
                )
            )
            for item in cut:
                if isinstance(item, Problem):
                    problems.append(item)
                    continue
                design, pairs = item
                designs.append(design)
                for master, square in pairs:
                    masters.append(master)
                    fitted.append(square)
                    signs.append(signatures(square[None])[0])
            opened.close()  # all squares are in their files
            _write_said(stage / "said.json", designs, problems, fitted.digest.hexdigest())
    except OSError as error:
        each = sum(side * side for side in sides) / 1e3
        raise ConfigError(
            f"{folder.parent}: the cut drawings cannot be kept: {error.strerror or error}",
            hint=f"make room there: a figure takes {each:.0f} kB; or put the run on a larger disk",
        ) from error


def _write_said(
    file: Path, designs: Sequence[CutDesign], problems: Sequence[Problem], digest: str
) -> None:
    said = {
        "fitted_sha256": digest,
        "designs": designs,
        "problems": [[problem.where, problem.reason] for problem in problems],
    }
    file.write_text(json.dumps(said), encoding="utf-8")


class _Growing:
    """An .npy file of rows whose number is known only when the last one is in it."""

    def __init__(self, file: Path, shape: tuple[int, ...], kind: type) -> None:
        self.row: NDArray[Any] = np.empty(shape, kind)
        self.count = 0
        self.digest = hashlib.sha256()
        self.file = file.open("wb")

    def __enter__(self) -> _Growing:
        self._write_header()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.file.seek(0)
                self._write_header()
        finally:
            self.file.close()

    def _write_header(self) -> None:  # numpy pads it: it stays as long while the number grows
        shape = (self.count, *self.row.shape)
        npy.write_array_header_1_0(
            self.file, {"descr": self.row.dtype.str, "fortran_order": False, "shape": shape}
        )

    def append(self, row: NDArray[Any]) -> None:
        """Write one row: a square, say."""
        assert (row.shape, row.dtype) == (self.row.shape, self.row.dtype)
        data = row.tobytes()
        self.file.write(data)
        self.digest.update(data)
        self.count += 1


DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError)
"""What `read_cut` raises of a cache that is not whole."""


def read_cut(folder: Path) -> CutSource:
    """Open what `write_cut` wrote.

    Raises:
        One of `DAMAGED`: It is not there, or not whole.
    """
    text = (folder / "said.json").read_bytes()
    said = json.loads(text)
    designs = tuple(
        CutDesign(number, tuple(labels), where, figures)
        for number, labels, where, figures in said["designs"]
    )
    figures = sum(design.figures for design in designs)
    masters, fitted = (_mapped(folder / name, figures, 3, np.uint8) for name in (MASTERS, FITTED))
    signs = _mapped(folder / SIGNATURES, figures, 2, np.float16)
    problems = tuple(Problem(where, reason) for where, reason in said["problems"])
    labels = json.dumps([[d.number, d.labels, d.figures] for d in designs]).encode()
    digest = hashlib.sha256(said["fitted_sha256"].encode() + labels).hexdigest()
    return CutSource(masters, fitted, signs, designs, problems, digest)


def _mapped(file: Path, count: int, dimensions: int, kind: type) -> NDArray[Any]:
    """Map a file of `count` rows; numpy raises ValueError if it is cut short."""
    # A file without rows cannot be mapped, and need not be.
    array: NDArray[Any] = np.load(file, mmap_mode="r" if count else None, allow_pickle=False)
    offset = array.offset if isinstance(array, np.memmap) else file.stat().st_size
    right = array.ndim == dimensions and array.dtype == kind and len(array) == count
    if not right or file.stat().st_size != offset + array.nbytes:
        raise ValueError(f"{file}: not {count} figures")
    return array


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half written of this cache: it may be many gigabytes."""
    for left in folder.parent.glob(f".{folder.name}.*-*"):
        with contextlib.suppress(OSError):  # its writer, still at work, has just finished it
            times = [path.stat().st_mtime for path in (left, *left.iterdir())]
            if time.time() - max(times) > STALE:
                shutil.rmtree(left, ignore_errors=True)
