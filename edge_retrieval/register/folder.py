"""The register: what may be done with the folder as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Codes, Embeddings
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import Encoder
from edge_retrieval.errors import BundleError, BundleMismatchError, RegisterError
from edge_retrieval.index import FlatIndex, HnswIndex, Index, graph_pays
from edge_retrieval.progress import Track, silent
from edge_retrieval.register.adding import Adder
from edge_retrieval.register.classes import nodes_within
from edge_retrieval.register.database import DAMAGED, Database
from edge_retrieval.register.making import BUNDLE, DATABASE, GRAPH, LOCK, VECTORS, make_folder
from edge_retrieval.register.manifest import read_manifest
from edge_retrieval.register.reading import (
    damages,
    read_committed_rows,
    read_design,
    read_figures,
    read_label_tree,
    read_picture,
)
from edge_retrieval.register.records import AddResult, DesignRecord, FigureRecord
from edge_retrieval.register.vectors import map_vectors, writer_lock
from edge_retrieval.register.verifying import check_batches, damaged_batches
from edge_retrieval.sources.design import Design, Problem
from edge_retrieval.taxonomy import LOCARNO_LEVELS, LabelPath, Taxonomy


class Register:
    """A searchable collection of designs on disk; made by `create`, found again by `open`.

    Attributes:
        folder: Where it is.
        bundle: Its copy of the bundle whose encoder made its vectors.
        levels: Names of the taxonomy levels, coarse to fine; the last is the design.
        vectors: ``(N, D)`` float32, rows of length 1, memory-mapped: those committed on opening.
    """

    def __init__(self, folder: Path, bundle: Bundle, levels: tuple[str, ...]) -> None:
        self.folder = folder
        self.bundle = bundle
        self.levels = levels
        self.vectors: Embeddings
        self._database = Database.open(folder / DATABASE)
        self.refresh()

    @classmethod
    def create(
        cls, folder: Path, bundle: Bundle, levels: Sequence[str] = LOCARNO_LEVELS
    ) -> Register:
        """Make an empty register: it appears whole or not at all.

        Args:
            folder: Where; must not exist, or be empty.
            bundle: What will make its vectors; copied into it.
            levels: Names of the taxonomy levels, coarse to fine; the last is the design.

        Raises:
            RegisterError: There is something already, or no permission to write.
        """
        make_folder(folder, bundle, levels)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Register:
        """Open a register for searching; it is read-only until `add` is called.

        Raises:
            RegisterError: Not a register, broken, or of a newer schema.
            BundleMismatchError: Its bundle is not the one that made its vectors.
            BundleError: Its bundle is broken.
        """
        manifest = read_manifest(folder)
        try:
            bundle = Bundle.open(folder / BUNDLE)
        except BundleError as error:  # of a register nobody exports the encoder again
            raise BundleError(
                str(error), hint=error.hint if "upgrade" in error.hint else DAMAGED
            ) from error
        if bundle.fingerprint != manifest.fingerprint:
            raise BundleMismatchError(
                f"{folder}: its bundle is not the one that made its vectors",
                hint=DAMAGED,
            )
        return cls(folder, bundle, manifest.levels)

    def close(self) -> None:
        """Let go of the files; the register cannot be used any more."""
        self._database.close()
        self.vectors = self.vectors[:0].copy()

    def __enter__(self) -> Register:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh(self) -> None:
        """See what has been committed since this register was opened."""
        rows = read_committed_rows(self._database)
        self.vectors = map_vectors(self.folder / VECTORS, rows, self.bundle.dim)
        self._trusted: set[int] = set()
        self._counted: tuple[int, int] | None = None

    def __len__(self) -> int:
        """The number of figures."""
        return self.figures_count

    @property
    def figures_count(self) -> int:
        """How many figures can be found."""
        return self._counts()[1]

    @property
    def designs_count(self) -> int:
        """How many designs can be found."""
        return self._counts()[0]

    def _counts(self) -> tuple[int, int]:
        if self._counted is None:
            sql = "SELECT count(DISTINCT design), count(*) FROM figures WHERE row < ?"
            designs, figures = self._database.one(sql, self._end) or (0, 0)
            self._counted = int(designs), int(figures)
        return self._counted

    @property
    def snapshot(self) -> str:
        """A name for exactly these vectors of exactly this encoder, in this order."""
        sql = "SELECT sha256 FROM batches WHERE first < ? ORDER BY first"
        batches = [sha256 for (sha256,) in self._database.all(sql, self._end)]
        text = "\n".join([self.bundle.fingerprint, *batches])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _end(self) -> int:
        return len(self.vectors)

    def add(
        self,
        designs: Iterable[Design | Problem],
        encoder: Encoder,
        *,
        batch: int = 16,
        track: Track = silent,
    ) -> AddResult:
        """Add designs; whatever is in the register already, by number and bytes, is left alone.

        A sheet that cannot be read becomes a problem, and work goes on. About every 64 figures are
        committed together; a kill loses no more than that, and adding again completes the work.

        Args:
            designs: From a source; problems among them are recorded.
            encoder: Of the bundle that this register pins.
            batch: Figures that are embedded together.
            track: Shows progress.

        Raises:
            BundleMismatchError: The encoder is another one.
            RegisterError: Another writer is at work, no permission, a full disk, a vector that is
                not finite.
        """
        self.require(encoder)
        with writer_lock(self.folder / LOCK):
            adder = Adder(
                Database.open(self.folder / DATABASE, write=True),
                self.folder / VECTORS,
                depth=len(self.levels) - 1,
                encoder=encoder,
                batch=batch,
            )
            try:
                return adder.add(designs, track)
            finally:
                self.refresh()

    def discard_if_empty(self) -> bool:
        """Remove a register that holds no figure, unless a writer is at work in it; say whether.

        What it was made in (an empty folder, a card) stays if it cannot be removed.
        """
        with contextlib.suppress(RegisterError), writer_lock(self.folder / LOCK):
            self.refresh()
            if self._end == 0:
                shutil.rmtree(self.folder, ignore_errors=True)
        return not self.folder.exists()

    def index(self) -> Index:
        """Return what searches these vectors: the graph if one fits them, else all of them."""
        path = self.folder / GRAPH
        if graph_pays(self._end) and path.exists():
            try:
                return HnswIndex.load(path, self.vectors)
            except RegisterError:
                pass  # a cache of earlier vectors, or damaged: exact search needs none
        return FlatIndex(self.vectors)

    def build_graph(self) -> None:
        """Build the graph over all vectors, where it pays; until it is built, search is exact."""
        if graph_pays(self._end):
            HnswIndex.build(self.vectors).save(self.folder / GRAPH)

    def require(self, encoder: Encoder) -> None:
        """Refuse an encoder that did not make these vectors."""
        if encoder.fingerprint != self.bundle.fingerprint:
            raise BundleMismatchError(
                f"{self.folder}: made by the bundle {self.bundle.name} "
                f"({self.bundle.fingerprint[:12]}), not by {encoder.fingerprint[:12]}",
                hint="leave out --bundle to use its own, or make another register with -o",
            )

    def design(self, number: str) -> DesignRecord:
        """Return what is known of a design; `RegisterError` if it is not here."""
        found = read_design(self._database, number)
        if found is None:
            raise RegisterError(
                f"{self.folder}: no design {number}", hint="check the number's spelling"
            )
        return found[1]

    def figures(self, rows: Iterable[int]) -> list[FigureRecord]:
        """Return the records of the figures in `rows`, in that order."""
        return read_figures(self._database, [int(row) for row in rows])

    def picture(self, row: int) -> bytes:
        """Return a small PNG of the figure in `row`, upright and trimmed."""
        return read_picture(self._database, int(row))

    def problems(self) -> list[Problem]:
        """Return what could not be read while adding, and has not been read since."""
        found = self._database.all("SELECT place, reason FROM problems")
        return [Problem(where, reason) for where, reason in found]

    def rows_of(
        self, prefixes: Sequence[str] = (), exclude_designs: Iterable[str] = ()
    ) -> NDArray[np.int64]:
        """Return the rows of all figures, or of those in some classes.

        Args:
            prefixes: Class codes or names of any level ("06", "06-01", "6-1", "furniture/chairs");
                figures in any of them are taken. () means all.
            exclude_designs: Numbers of designs to leave out.

        Returns:
            ``(M,)`` int64, sorted.

        Raises:
            TaxonomyError: No design of this register is in such a class.
        """
        sql = "SELECT f.row FROM figures f"
        values: list[object] = [self._end]
        if prefixes:
            nodes = nodes_within(read_label_tree(self._database), prefixes, where=self.folder)
            sql += (
                " JOIN designs d ON d.id = f.design AND d.node IN (SELECT value FROM json_each(?))"
            )
            values.insert(0, json.dumps(nodes))
        rows = self._database.rows(f"{sql} WHERE f.row < ? ORDER BY f.row", *values)
        return np.setdiff1d(rows, self.rows_of_designs(exclude_designs), assume_unique=True)

    def rows_of_sheet(self, sha256: str) -> NDArray[np.int64]:
        """Return the sorted rows of the figures cut from a sheet with these bytes."""
        sql = "SELECT f.row FROM figures f JOIN sheets s ON s.id = f.sheet WHERE s.sha256 = ?"
        return self._database.rows(f"{sql} AND f.row < ? ORDER BY f.row", sha256, self._end)

    def rows_of_designs(self, numbers: Iterable[str]) -> NDArray[np.int64]:
        """Return the sorted rows of the figures of some designs; unknown numbers have none."""
        sql = "SELECT f.row FROM figures f JOIN designs d ON d.id = f.design WHERE f.row < ?"
        sql += " AND d.number IN (SELECT value FROM json_each(?)) ORDER BY f.row"
        return self._database.rows(sql, self._end, json.dumps(list(numbers)))

    def compared(
        self, rows: NDArray[np.int64] | None, excluded: NDArray[np.int64]
    ) -> tuple[int, int]:
        """Return how many designs and figures `rows` (None: all) hold without `excluded`."""
        if rows is not None:
            left = np.setdiff1d(rows, excluded, assume_unique=True)
            return len(np.unique(self.designs_of(left))), len(left)
        gone = 0
        designs, counts = np.unique(self.designs_of(excluded), return_counts=True)
        for design, count in zip(designs.tolist(), counts.tolist(), strict=True):
            sql = "SELECT count(*) FROM figures WHERE design = ? AND row < ?"
            gone += self._database.count(sql, design, self._end) == count
        return self.designs_count - gone, self.figures_count - len(excluded)

    def designs_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return an integer per row that tells designs apart: equal for figures of one design."""
        sql = "SELECT f.design FROM json_each(?) j JOIN figures f ON f.row = j.value ORDER BY j.id"
        return self._database.rows(sql, json.dumps(rows.tolist()))

    def label_paths(self) -> list[LabelPath]:
        """Return the full label path of each row, the design's number last.

        A design whose class is unknown gets classes of its own: nothing is known to agree with it.
        """
        paths = read_label_tree(self._database)
        above = len(self.levels) - 1
        sql = "SELECT d.node, d.number FROM figures f JOIN designs d ON d.id = f.design"
        return [
            (*(paths[node] or (f"unknown: {number}",) * above), number)
            for node, number in self._database.all(
                f"{sql} WHERE f.row < ? ORDER BY f.row", self._end
            )
        ]

    def codes(self) -> Codes:
        """Return ``(N, L)`` int32: the code of each row at each level."""
        paths = self.label_paths()
        return Taxonomy.of(paths, self.levels).encode(paths)

    def check_rows(self, rows: Iterable[int]) -> None:
        """Hold the batches of vectors that these rows belong to against their checksums.

        Raises:
            RegisterError: A byte of them has changed since it was written.
        """
        path = self.folder / VECTORS
        self._trusted |= check_batches(self._database, path, self.vectors, rows, self._trusted)

    def verify(self) -> list[str]:
        """Hold every byte against its checksum; return what is wrong, a line each."""
        try:
            Bundle.open(self.folder / BUNDLE)
            found = list(dict.fromkeys(damages(self._database)))  # one record may be met twice
        except (BundleError, RegisterError) as error:
            return [str(error)]
        found += damaged_batches(self._database, self.folder / VECTORS, self.vectors)
        if self.figures_count != self._end:
            found.append(f"{self.folder}: {self.figures_count} figures but {self._end} vectors")
        return found
