"""The register: what may be done with the folder as a whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Codes, Embeddings
from edge_retrieval.cache import register_name
from edge_retrieval.errors import BundleMismatchError, RegisterError
from edge_retrieval.progress import Track, silent
from edge_retrieval.register.columns import Columns, sheet_mark
from edge_retrieval.register.files import LOCK, writer_lock
from edge_retrieval.register.opening import open_bundle
from edge_retrieval.register.reading import read_design, read_figures
from edge_retrieval.register.records import AddResult, DesignRecord, FigureRecord
from edge_retrieval.register.snapshot import Snapshot
from edge_retrieval.sources.design import Design, Problem
from edge_retrieval.taxonomy import LOCARNO_LEVELS, LabelPath, Taxonomy

if TYPE_CHECKING:  # a search needs none of what writes
    from edge_retrieval.bundle import Bundle
    from edge_retrieval.encoder import Encoder
    from edge_retrieval.register.copying import DesignReader
    from edge_retrieval.register.cutters import SheetCutters
    from edge_retrieval.register.database import Database
    from edge_retrieval.register.writing import Store


REMEMBERED = 1_024
"""Records of designs kept until the next snapshot: the hits of one search are asked for twice."""


class Register:
    """A searchable collection of designs on disk; made by `create`, found again by `open`.

    Attributes:
        folder: Where it is.
        bundle: Its copy of the bundle whose encoder made its vectors; a cut of it, if they are the
            first numbers of the embeddings only.
        levels: Names of the taxonomy levels, coarse to fine; the last is the design.
    """

    def __init__(self, folder: Path, bundle: Bundle, levels: tuple[str, ...]) -> None:
        self.folder = folder
        self.bundle = bundle
        self.levels = levels
        self._at = Snapshot(folder, bundle.dim, bundle.fingerprint)

    @classmethod
    def create(
        cls, folder: Path, bundle: Bundle, levels: Sequence[str] = LOCARNO_LEVELS
    ) -> Register:
        """Make an empty register: it appears whole or not at all.

        Args:
            folder: Where; must not exist, or be empty.
            bundle: What will make its vectors; copied into it. A cut of one, by `Bundle.cut`, makes
                shorter ones.
            levels: Names of the taxonomy levels, coarse to fine; the last is the design.

        Raises:
            RegisterError: There is something already, or no permission to write.
        """
        from edge_retrieval.register.making import make_folder

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

    def close(self) -> None:
        """Let go of the files; the register cannot be used any more."""
        self._at.close()

    def __enter__(self) -> Register:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh(self) -> None:
        """See what has been committed since this register was opened.

        Raises:
            RegisterError: Something that was committed is gone, or a file is missing or short.
        """
        self._at.renew()

    def __repr__(self) -> str:
        if self._at.closed:
            return f"<Register {self.folder.name}, closed>"
        return (
            f"<Register {self.name}: {self.designs_count:,} designs, "
            f"{self.figures_count:,} figures, encoder {self.bundle.name}>"
        )

    def __len__(self) -> int:
        """The number of figures."""
        return self.figures_count

    @property
    def name(self) -> str:
        """What it is called, where its folder need not be told."""
        return register_name(self.folder)

    @property
    def figures_count(self) -> int:
        """How many figures can be found."""
        return self.columns.figures_count

    @property
    def designs_count(self) -> int:
        """How many designs can be found."""
        return self.columns.designs_count

    @property
    def vectors(self) -> Embeddings:
        """``(N, D)`` float32, rows of length 1, memory-mapped; those of dead designs among them."""
        return self._at.vectors

    @property
    def snapshot(self) -> str:
        """A name for exactly what can be found: the encoder, and all that was ever done."""
        return self._at.state.snapshot[:16]

    @property
    def contents(self) -> str:
        """A name for what can be found alone: a compaction, or another order, does not change it.

        It takes about a second for a million figures.
        """
        from edge_retrieval.register.contents import contents_of

        return contents_of(self.columns, self.bundle.fingerprint)

    @property
    def generation(self) -> int:
        """How many commits have changed what can be found."""
        return self._at.state.generation

    @property
    def epoch(self) -> int:
        """Which vectors count; a compaction, which gives every row another number, raises it."""
        return self._at.state.epoch

    @property
    def columns(self) -> Columns:
        """What filters and grouping need of this snapshot."""
        return self._at.columns

    def read_rows(self, rows: Iterable[int] | NDArray[np.int64]) -> Embeddings:
        """Return some vectors, read from the file by their places; the map is left alone.

        Args:
            rows: ``(n,)`` rows, in any order.

        Returns:
            ``(n, D)`` float32, in that order; a copy.

        Raises:
            RegisterError: One of them has changed since it was written.
        """
        return self._at.read_rows(rows)

    def check_batches_of(self, start: int, stop: int) -> None:
        """Hold the batches that have rows in [start, stop) against their checksums, each once.

        Raises:
            RegisterError: A byte of one has changed since it was written.
        """
        self._at.check_batches_of(start, stop)

    def add(
        self,
        designs: Iterable[Design | Problem],
        encoder: Encoder,
        *,
        batch: int = 16,
        track: Track = silent,
        source: str = "",
        jobs: int = 1,
        cutters: SheetCutters | None = None,
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
            jobs: Processes that cut sheets, if there are many; 1 cuts them here. The register
                becomes the same.
            cutters: Who cuts them instead, and may embed their figures too: see `scale`.

        Raises:
            BundleMismatchError: The encoder is another one.
            RegisterError: Another writer is at work, no permission, a full disk, a vector that is
                not finite.
        """
        from edge_retrieval.register.adding import Adder

        self.require(encoder)
        with self._writing() as (database, store):
            adder = Adder(
                database,
                store,
                depth=len(self.levels) - 1,
                encoder=encoder,
                batch=batch,
                jobs=jobs,
                source=source,
                cutters=cutters,
            )
            return adder.add(designs, track)

    def remove(self, numbers: Iterable[str]) -> int:
        """Remove designs, all of those named or none; their bytes go at `compact`.

        Returns:
            How many were removed.

        Raises:
            RegisterError: A number names no design; another writer is at work; no permission.
        """
        from edge_retrieval.register.changing import remove

        with self._writing() as (database, _):
            return remove(database, list(numbers))

    def compact(self, *, track: Track = silent) -> None:
        """Let go of the bytes of removed designs, and let the rows of a class lie side by side.

        Every row gets another number; readers go on with what they have until they refresh.

        Raises:
            RegisterError: Another writer is at work, no permission, no room, a damaged design.
        """
        from edge_retrieval.register.changing import compact

        with self._writing() as (database, store):
            self.refresh()
            compact(database, store, self._designs(), track)
            self._at.release()
            if database.settle():  # else a reader needs the old pages: the next compaction's work
                with contextlib.suppress(RegisterError):  # no room: done all the same
                    database.all("VACUUM")

    def merge_from(self, other: Register, *, track: Track = silent) -> AddResult:
        """Add the designs of another register; nothing is embedded.

        A design that is here already gets the sheets that it lacks, as with `add`.

        Raises:
            BundleMismatchError: The other's vectors are of another bundle.
            RegisterError: The other has other levels or damage; another writer is at work; no
                permission; a full disk.
        """
        from edge_retrieval.register.changing import merge

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

    def embed_from(
        self, other: Register, encoder: Encoder, *, batch: int = 16, track: Track = silent
    ) -> AddResult:
        """Add the designs of a register of another encoder, embedded anew from its small pictures.

        They come in the order of their classes, and go on where an earlier call was stopped: nobody
        else may have written here.

        Raises:
            BundleMismatchError: The encoder is not the one that this register pins.
            RegisterError: Something of the other is damaged; another writer is at work; no
                permission; a full disk; a vector that is not finite.
        """
        from edge_retrieval.register.renewing import renew

        self.require(encoder)
        with self._writing() as (database, store):
            return renew(database, store, other._designs(), encoder, batch, track)

    @cached_property
    def made_from(self) -> dict[str, Any] | None:
        """What its first designs were embedded from, where not from sheets; see `renewing`."""
        from edge_retrieval.register.manifest import read_manifest

        return read_manifest(self.folder).made_from

    def _designs(self) -> DesignReader:
        from edge_retrieval.register.copying import DesignReader

        return DesignReader(self._at.database, self._at.rows, self._at.pictures, self._at.old)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[Database, Store]]:
        """Be the only writer; afterwards see what was written."""
        from edge_retrieval.register.working import writing_in

        with writer_lock(self.folder / LOCK):
            if self._at.old is not None:
                self.refresh()  # another process may have brought it up to date
            if self._at.old is not None:
                from edge_retrieval.register.changing import upgrade

                upgrade(self.folder, self.bundle, self.levels, self._designs())
                self.refresh()
            self._at.release()
            try:
                with writing_in(self.folder, self.bundle.dim) as (database, store):
                    try:
                        yield database, store
                    finally:
                        self._at.release()
            finally:
                self.refresh()

    def discard_if_empty(self) -> bool:
        """Remove a register that holds no figure, unless a writer is at work in it; say whether.

        What it was made in (an empty folder, a card) stays if it cannot be removed.
        """
        with contextlib.suppress(RegisterError), writer_lock(self.folder / LOCK):
            self.refresh()
            if len(self.vectors) == 0:
                import shutil

                shutil.rmtree(self.folder, ignore_errors=True)
        return not self.folder.exists()

    def require(self, encoder: Encoder | Bundle) -> None:
        """Refuse an encoder, or its bundle, that did not make these vectors."""
        if encoder.fingerprint != self.bundle.fingerprint:
            own, other = (
                f"{getattr(one, 'name', '')} ({one.fingerprint[:12]}, {one.dim} numbers a"
                " figure)".lstrip()
                for one in (self.bundle, encoder)
            )
            raise BundleMismatchError(
                f"{self.folder}: made by the bundle {own}, not by {other}",
                hint="use the bundle that made it (leave out --bundle and --dim where those are"
                " options), or make another register with -o",
            )

    def design(self, number: str) -> DesignRecord:
        """Return what is known of a design; `RegisterError` if it is not here."""
        known = self._at.designs.get(number)
        if known is None:
            found = read_design(self._at.database, number)
            if found is None:
                raise RegisterError(
                    f"{self.folder}: no design {number}", hint="check the number's spelling"
                )
            if len(self._at.designs) >= REMEMBERED:
                self._at.designs.clear()
            known = self._at.designs[number] = found[1]
        return known

    def figures(self, rows: Iterable[int]) -> list[FigureRecord]:
        """Return the records of the figures in `rows`, in that order."""
        wanted = [int(row) for row in rows]
        return read_figures(self._at.database, wanted, design=self.design)

    def picture(self, row: int) -> bytes:
        """Return a small PNG of the figure in `row`, upright and trimmed."""
        return self._at.picture(int(row))

    def problems(self) -> list[Problem]:
        """Return what could not be read while adding, and has not been read since."""
        found = self._at.database.all("SELECT place, reason FROM problems")
        return [Problem(where, reason) for where, reason in found]

    def living_rows(self) -> NDArray[np.int64]:
        """Return ``(M,)`` the sorted rows of all figures but those of removed designs."""
        return np.flatnonzero(self.columns.alive[self.columns.design_of])

    def rows_of_sheet(self, sha256: str) -> NDArray[np.int64]:
        """Return the sorted rows of the figures cut from a sheet with these bytes."""
        return np.flatnonzero(self.columns.sheet_of == sheet_mark(sha256))

    def rows_of_design(self, number: str) -> NDArray[np.int64]:
        """Return the sorted rows of the figures of a living design; none if it is not here."""
        place = self.columns.find(number)
        return np.flatnonzero(self.columns.design_of == (-1 if place is None else place))

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
        from edge_retrieval.register.verifying import damages

        at = self._at
        lines = damages(self.folder, at.database, at.vectors, at.pictures, at.old)
        return list(dict.fromkeys(lines))  # one record may be met twice
