"""The register: what may be done with the folder as a whole."""

from __future__ import annotations

import contextlib
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Codes, Embeddings
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import Encoder
from edge_retrieval.errors import BundleMismatchError, RegisterError
from edge_retrieval.progress import Track, silent
from edge_retrieval.register.adding import Adder
from edge_retrieval.register.changing import compact, merge, remove, upgrade
from edge_retrieval.register.classes import nodes_within
from edge_retrieval.register.columns import Columns, load_columns, save_columns
from edge_retrieval.register.copying import DesignReader
from edge_retrieval.register.database import DAMAGED, SCHEMA, Database
from edge_retrieval.register.files import (
    RowReader,
    map_vectors,
    pictures_name,
    vectors_name,
    writer_lock,
)
from edge_retrieval.register.making import DATABASE, LOCK, make_folder
from edge_retrieval.register.opening import open_bundle, require_head, writing_in
from edge_retrieval.register.reading import (
    read_design,
    read_ends,
    read_figures,
    read_place_of_picture,
)
from edge_retrieval.register.records import AddResult, DesignRecord, FigureRecord
from edge_retrieval.register.schema1 import VECTORS as OLD_VECTORS
from edge_retrieval.register.schema1 import convert, picture_of
from edge_retrieval.register.state import Head, read_head
from edge_retrieval.register.tabling import make_columns, sheet_mark
from edge_retrieval.register.verifying import damages
from edge_retrieval.register.writing import Store
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
        self._old: Database | None = None  # of schema 1: it holds the pictures
        self._database = self._connect()
        try:
            self.refresh()
        except BaseException:
            self._database.close()
            raise

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
        levels, bundle = open_bundle(folder)
        return cls(folder, bundle, levels)

    def _connect(self) -> Database:
        """Open the database; one of schema 1 is read into memory."""
        database = Database.open(self.folder / DATABASE)
        if database.schema >= SCHEMA:
            return database
        self._old = database
        return convert(database, self.folder, self.bundle.dim, self.bundle.fingerprint)

    def close(self) -> None:
        """Let go of the files; the register cannot be used any more."""
        self._database.close()
        if self._old is not None:
            self._old.close()
        self._reader.close()
        self._pictures.close()
        self.vectors = self.vectors[:0].copy()

    def __enter__(self) -> Register:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh(self) -> None:
        """See what has been committed since this register was opened.

        Raises:
            RegisterError: Something that was committed is gone, or a file is missing or short.
        """
        if self._old is not None:
            self._old.close()
            self._old = None
            self._database = self._connect()
        head = self._read_head()
        for last_try in (False, True):
            self._state = self._database.hold()
            try:
                self._open_files()
                break
            except RegisterError:
                # Compacted this moment: the files of the epoch just read are gone. Read it again.
                if last_try or self._database.hold().epoch == self._state.epoch:
                    raise
        if self._old is None and head is not None:
            require_head(self.folder / DATABASE, self._state, head)
        self._trusted: set[int] = set()
        self._columns: Columns | None = None

    def _read_head(self) -> Head | None:
        try:
            return read_head(self.folder)
        except ValueError:
            return None  # `verify` tells it; the database is the truth

    def _open_files(self) -> None:
        rows, _ = read_ends(self._database)
        epoch = self._state.epoch
        name = vectors_name(epoch) if self._old is None else OLD_VECTORS
        self.vectors = map_vectors(self.folder / name, rows, self.bundle.dim)
        self._reader = RowReader(self.folder / name, self.bundle.dim)
        if self._old is None:
            name = pictures_name(epoch)
        self._pictures = RowReader(self.folder / name, self.bundle.dim)

    def __len__(self) -> int:
        """The number of figures."""
        return self.figures_count

    @property
    def figures_count(self) -> int:
        """How many figures can be found."""
        return self.columns.figures_count

    @property
    def designs_count(self) -> int:
        """How many designs can be found."""
        return self.columns.designs_count

    @property
    def snapshot(self) -> str:
        """A name for exactly what can be found: the encoder, and all that was ever done."""
        return self._state.snapshot[:16]

    @property
    def generation(self) -> int:
        """How many commits have changed what can be found."""
        return self._state.generation

    @property
    def epoch(self) -> int:
        """Which vectors count; a compaction, which gives every row another number, raises it."""
        return self._state.epoch

    @property
    def columns(self) -> Columns:
        """What filters and grouping need of this snapshot."""
        if self._columns is None:
            with contextlib.suppress(RegisterError):  # a cache: made anew
                self._columns = load_columns(self.folder, self._state)
            if self._columns is None:
                self._columns = make_columns(self._database)
                if self._old is None and self._is_newest():
                    save_columns(self.folder, self._columns, self._state)
        return self._columns

    def _is_newest(self) -> bool:
        head = self._read_head()
        return head is None or head.generation <= self._state.generation

    def read_rows(self, rows: Iterable[int] | NDArray[np.int64]) -> Embeddings:
        """Return some vectors, read from the file by their places; the map is left alone.

        Args:
            rows: ``(n,)`` rows, in any order.

        Returns:
            ``(n, D)`` float32, in that order; a copy.

        Raises:
            RegisterError: One of them has changed since it was written.
        """
        wanted = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), np.int64)
        found = self._reader.read(wanted)
        marks = self.columns.crc_of[wanted].tolist()
        for place, row, mark in zip(found, wanted.tolist(), marks, strict=True):
            if zlib.crc32(place) != mark:
                raise self._damaged_rows(row, row + 1)
        return found

    def check_batches_of(self, start: int, stop: int) -> None:
        """Hold the batches that have rows in [start, stop) against their checksums, each once.

        Raises:
            RegisterError: A byte of one has changed since it was written.
        """
        if start >= stop:
            return
        starts = self.columns.batch_first
        first = int(np.searchsorted(starts, start, "right")) - 1
        last = int(np.searchsorted(starts, stop - 1, "right"))
        for batch in range(first, last):
            if batch in self._trusted:
                continue
            begin = int(starts[batch])
            end = int(starts[batch + 1]) if batch + 1 < len(starts) else len(self.vectors)
            if zlib.crc32(self.vectors[begin:end]) != self.columns.batch_crc[batch]:  # type: ignore[arg-type]
                raise self._damaged_rows(begin, end)
            self._trusted.add(batch)

    def check_rows(self, rows: Iterable[int]) -> None:
        """Hold the batches of vectors that these rows belong to against their checksums.

        Raises:
            RegisterError: A byte of them has changed since it was written.
        """
        for row in rows:
            self.check_batches_of(int(row), int(row) + 1)

    def _damaged_rows(self, start: int, stop: int) -> RegisterError:
        path = self.folder / vectors_name(self.epoch)
        return RegisterError(f"{path}: damaged: rows {start} to {stop - 1}", hint=DAMAGED)

    def add(
        self,
        designs: Iterable[Design | Problem],
        encoder: Encoder,
        *,
        batch: int = 16,
        track: Track = silent,
        source: str = "",
    ) -> AddResult:
        """Add designs; whatever is in the register already, by number and bytes, is left alone.

        A sheet that cannot be read becomes a problem, and work goes on. About every 64 figures are
        committed together; a kill loses no more than that, and adding again completes the work.

        Args:
            designs: From a source; problems among them are recorded.
            encoder: Of the bundle that this register pins.
            batch: Figures that are embedded together.
            track: Shows progress.
            source: Name of what is indexed; kept with each new design.

        Raises:
            BundleMismatchError: The encoder is another one.
            RegisterError: Another writer is at work, no permission, a full disk, a vector that is
                not finite.
        """
        self.require(encoder)
        with self._writing() as (database, store):
            adder = Adder(
                database,
                store,
                depth=len(self.levels) - 1,
                encoder=encoder,
                batch=batch,
                source=source,
            )
            return adder.add(designs, track)

    def remove(self, numbers: Iterable[str]) -> int:
        """Remove designs, all of those named or none; their bytes go at `compact`.

        Returns:
            How many were removed.

        Raises:
            RegisterError: A number names no design; another writer is at work; no permission.
        """
        with self._writing() as (database, _):
            return remove(database, list(numbers))

    def compact(self, *, track: Track = silent) -> None:
        """Let go of the bytes of removed designs, and let the rows of a class lie side by side.

        Every row gets another number; readers go on with what they have until they refresh.

        Raises:
            RegisterError: Another writer is at work, no permission, no room, a damaged design.
        """
        with self._writing() as (database, store):
            self.refresh()
            compact(database, store, self._designs(), track)
            self._database.rollback()
            if database.settle():  # else a reader needs the old pages: the next compaction's work
                database.all("VACUUM")

    def merge_from(self, other: Register, *, track: Track = silent) -> AddResult:
        """Add the designs of another register; nothing is embedded.

        A design that is here already gets the sheets that it lacks, as with `add`.

        Raises:
            BundleMismatchError: The other's vectors are of another bundle.
            RegisterError: The other has other levels or damage; another writer is at work; no
                permission; a full disk.
        """
        self.require(other.bundle)
        if other.levels != self.levels:
            raise RegisterError(
                f"{other.folder}: its levels are {', '.join(other.levels)}, "
                f"not {', '.join(self.levels)}",
                hint="index its designs anew into this register",
            )
        if other.folder.resolve() == self.folder.resolve():
            raise RegisterError(f"{other.folder}: is the same register", hint="name another one")
        with self._writing() as (database, store):
            return merge(database, store, other._designs(), track)

    def _designs(self) -> DesignReader:
        return DesignReader(self._database, self._reader, self._pictures, self._old)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[Database, Store]]:
        """Be the only writer; afterwards see what was written."""
        with writer_lock(self.folder / LOCK):
            if self._old is not None:
                self.refresh()  # another process may have brought it up to date
            if self._old is not None:
                upgrade(self.folder, self.bundle, self.levels, self._designs())
                self.refresh()
            self._database.rollback()  # a snapshot held here would keep the log from ending
            try:
                with writing_in(self.folder, self.bundle.dim) as (database, store):
                    try:
                        yield database, store
                    finally:
                        self._database.rollback()
            finally:
                self.refresh()

    def discard_if_empty(self) -> bool:
        """Remove a register that holds no figure, unless a writer is at work in it; say whether.

        What it was made in (an empty folder, a card) stays if it cannot be removed.
        """
        with contextlib.suppress(RegisterError), writer_lock(self.folder / LOCK):
            self.refresh()
            if len(self.vectors) == 0:
                shutil.rmtree(self.folder, ignore_errors=True)
        return not self.folder.exists()

    def require(self, encoder: Encoder | Bundle) -> None:
        """Refuse an encoder, or its bundle, that did not make these vectors."""
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
        if self._old is not None:
            return picture_of(self._old, int(row))
        offset, length, crc = read_place_of_picture(self._database, int(row))
        data = self._pictures.bytes_at(offset, length)
        if len(data) != length or zlib.crc32(data) != crc:
            path = self.folder / pictures_name(self.epoch)
            raise RegisterError(f"{path}: damaged: the picture of row {row}", hint=DAMAGED)
        return data

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
        columns = self.columns
        chosen = columns.alive.copy()
        if prefixes:
            paths = dict(enumerate(columns.paths))
            nodes = nodes_within(paths, prefixes, where=self.folder)
            chosen &= np.isin(columns.node, nodes)
        for design in map(columns.find, exclude_designs):
            if design is not None:
                chosen[design] = False
        return np.flatnonzero(chosen[columns.design_of])

    def rows_of_sheet(self, sha256: str) -> NDArray[np.int64]:
        """Return the sorted rows of the figures cut from a sheet with these bytes."""
        return np.flatnonzero(self.columns.sheet_of == np.uint64(sheet_mark(sha256)))

    def label_paths(self) -> list[LabelPath]:
        """Return the full label path of each row, the design's number last.

        A design whose class is unknown gets classes of its own: nothing is known to agree with it.
        """
        columns, above = self.columns, len(self.levels) - 1
        paths: list[LabelPath] = []
        for design, node in enumerate(columns.node.tolist()):
            number = columns.number(design)
            labels = columns.paths[node] or (f"unknown: {number}",) * above
            paths.append((*labels, number))
        return [paths[design] for design in columns.design_of.tolist()]

    def codes(self) -> Codes:
        """Return ``(N, L)`` int32: the code of each row at each level."""
        paths = self.label_paths()
        return Taxonomy.of(paths, self.levels).encode(paths)

    def verify(self) -> list[str]:
        """Hold every byte of every file against its checksum; return what is wrong, a line each."""
        lines = damages(self.folder, self._database, self.vectors, self._old)
        return list(dict.fromkeys(lines))  # one record may be met twice
