"""How designs get into a register: read, cut, embed and commit, all at once, in order."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing.ready import ReadyFigure, SheetTask
from edge_retrieval.encoder import Encoder
from edge_retrieval.errors import ConfigError, DrawingError, RegisterError
from edge_retrieval.progress import Track
from edge_retrieval.register.ahead import Begin, End, Step, Taken, look_ahead
from edge_retrieval.register.cutters import Cutters, EmbeddedFigure, SheetCutters
from edge_retrieval.register.database import Database
from edge_retrieval.register.reading import has_sheet, read_design
from edge_retrieval.register.records import AddResult, DesignRecord
from edge_retrieval.register.reusing import KnownFigure, SheetReader
from edge_retrieval.register.writing import (
    NewFigure,
    Store,
    drop_problems,
    put_design,
    put_figures,
    put_problem,
    put_sheet,
)
from edge_retrieval.sources.design import Design, Note, Problem, Sheet, counted, in_unicode

COMMIT_FIGURES = 64
"""So many figures are committed together: what a kill costs, and how much memory it takes."""


def moment(name: str) -> None:
    """Do nothing: a test replaces this to end the process at the worst of moments."""


class Pending(NamedTuple):
    """A figure that is not committed yet.

    Attributes:
        record: What is known of it.
        place: Where a person finds it, for messages.
        image: ``(C, H, W)`` float32, to be embedded; or None.
        vector: ``(D,)`` float32, known already; or None.
    """

    record: NewFigure
    place: str
    image: NDArray[np.float32] | None
    vector: NDArray[np.float32] | None


class Adder:
    """One writer at work. Everything happens inside a transaction that `_commit` ends.

    Args:
        database: Opened for writing, under the writer's lock.
        store: The files of vectors and pictures.
        depth: Number of labels above a design.
        encoder: What embeds the figures.
        batch: Figures that are embedded together.
        jobs: Processes that cut sheets; 1 cuts them here.
        source: Name of what is indexed; kept with each new design.
        cutters: Who cuts them instead, and may embed their figures too.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        *,
        depth: int,
        encoder: Encoder,
        batch: int,
        jobs: int = 1,
        source: str = "",
        cutters: SheetCutters | None = None,
    ) -> None:
        if batch < 1 or jobs < 1:
            raise ConfigError(f"a batch of {batch}, {jobs} jobs", hint="give 1 or more of each")
        self._database = database
        self._store = store
        self._known = SheetReader(database, store)
        self._source = source
        self._depth = depth
        self._encoder = encoder
        self._batch = batch
        self._cutters: SheetCutters = cutters or Cutters(encoder.preprocessing, jobs)
        self._ahead: set[str] = set()  # SHA-256 of sheets taken, but not committed
        self._done: list[str] = []  # of those, what has been done
        self._design: Design | None = None  # at hand, unless it was refused
        self._key: int | None = None  # its id, once it has one
        self._numbered = 0  # its figures so far
        self._pending: list[Pending] = []
        self._vectors: list[Embeddings] = []  # of the first of the pending that have images
        self._result = AddResult()

    def add(self, designs: Iterable[Design | Problem], track: Track) -> AddResult:
        """Add everything; on any error, what was committed stays and the rest never was."""
        self._database.begin()
        try:
            with self._cutters:
                total = operator.length_hint(designs) or None
                for _ in track(self._added(designs), "Indexing", total):
                    pass
            self._commit()
        finally:
            self._database.rollback()
        return self._result

    def _steps(self, designs: Iterable[Design | Problem]) -> Iterator[Step]:
        """Say what there is to do, and have the sheets cut: some way ahead of what is done."""
        for item in self._cutters.through(designs):
            if isinstance(item, Problem):
                yield item
                yield End()
                continue
            found = read_design(self._database, item.number)
            yield Begin(item)
            if self._refusal(item, found[1] if found else None) is None:
                for sheet in item.sheets:
                    if sheet.role != "front":
                        yield self._taken(sheet, found[0] if found else None)
            yield End()

    def _taken(self, sheet: Sheet, key: int | None) -> Taken | Problem:
        try:
            data = sheet.read()
        except DrawingError as error:
            return _problem(sheet, error)
        sha256 = hashlib.sha256(data).hexdigest()
        cut = None
        there = key is not None and has_sheet(self._database, key, sha256)
        if not there and sha256 not in self._ahead and not self._known.holds(sha256, sheet):
            cut = self._cutters.submit(_task(sheet, data))
        self._ahead.add(sha256)
        many = self._cutters.designs_ahead is not None  # their bytes would fill the memory
        return Taken(sheet, b"" if many else data, sha256, cut)

    def _added(self, designs: Iterable[Design | Problem]) -> Iterator[None]:
        """Do what there is to do, in order; yield after each item of the source."""
        for step in look_ahead(self._steps(designs), designs=self._cutters.designs_ahead):
            if isinstance(step, Note):
                self._result.notes.append(Note(in_unicode(step.where), in_unicode(step.reason)))
            elif isinstance(step, Problem):
                self._report(step.where, step.reason)
            elif isinstance(step, Begin):
                self._begin(step.design)
            elif isinstance(step, Taken):
                self._done.append(step.sha256)
                if self._design is not None:
                    self._sheet(self._design, step)
            else:
                self._end()
                yield

    def _begin(self, design: Design) -> None:
        found = read_design(self._database, design.number)
        if reason := self._refusal(design, found[1] if found else None):
            self._report(design.where, reason)
            return
        self._design = design
        self._key = self._update(design, *found) if found else None
        self._numbered = sum(pending.record.design == self._key for pending in self._pending)
        self._numbered += found[1].figures_count if found else 0
        fronts = sum(sheet.role == "front" for sheet in design.sheets)
        self._result.front_pages += fronts
        if fronts == len(design.sheets):
            self._report(design.where, f"{design.number} has no sheet of drawings")

    def _end(self) -> None:
        if self._design is not None and self._key is not None:
            self._compare_with_stated(self._design)
        self._design = self._key = None

    def _refusal(self, design: Design, old: DesignRecord | None) -> str | None:
        if not design.number:
            return "a design without a number"
        if len(design.labels) not in (0, self._depth):
            path = "/".join(design.labels)
            return f"{design.number} has the classes {path}; this register has {self._depth} levels"
        other = old and design.labels and old.labels and design.labels != old.labels
        if old and other and old.where != design.where:
            return (
                f"the number {design.number} is taken by a design in {old.labels[-1]} "
                f"({old.where}); this one is in {design.labels[-1]}"
            )
        return None

    def _update(self, design: Design, key: int, old: DesignRecord) -> int:
        """Write down what is new; what the newer source does not know stays as it was."""
        changes = {
            name: value
            for name in Design.__dataclass_fields__
            if name not in ("number", "sheets")
            and (value := getattr(design, name)) not in ((), "", None, getattr(old, name))
        }
        if changes:
            kept = {k: getattr(old, k) for k in Design.__dataclass_fields__ if hasattr(old, k)}
            put_design(
                self._database, replace(design, **(kept | changes)), source=old.source, old=key
            )
            self._result.designs_updated += changes.keys() != {"where"}
        return key

    def _sheet(self, design: Design, taken: Taken) -> None:
        sheet = taken.sheet
        if self._key is not None and has_sheet(self._database, self._key, taken.sha256):
            self._result.unchanged += 1
            return
        figures: Sequence[KnownFigure | EmbeddedFigure | ReadyFigure]
        try:
            figures = self._reused(taken) if taken.cut is None else taken.cut.result()
        except DrawingError as error:
            problem = _problem(sheet, error)
            self._report(problem.where, problem.reason)
            return
        if not figures:
            self._report(sheet.where, "no figure was found on it")
            return
        if self._key is None:
            self._key = put_design(self._database, design, source=self._source)
            self._result.designs_added += 1
        if isinstance(figures[0], KnownFigure):
            lives = self._known.lives(taken.sha256)
            self._result.sheets_copied += lives
            self._result.sheets_taken_back += not lives
        told = len(sheet.captions) == len(figures)
        record = put_sheet(self._database, self._key, sheet.name, taken.sha256)
        for i, figure in enumerate(figures):
            self._numbered += 1
            new = NewFigure(
                design=self._key,
                sheet=record,
                figure=self._numbered,
                box=figure.box,
                turned=figure.turned,
                caption=sheet.captions[i] if told else "",
                png=figure.png,
            )
            place = f"{sheet.where}, figure {i + 1}"
            if isinstance(figure, ReadyFigure):
                self._pending.append(Pending(new, place, figure.image, None))
            else:
                self._pending.append(Pending(new, place, None, figure.vector))
        drop_problems(self._database, sheet.where)
        self._result.sheets_read += 1
        self._result.figures_added += len(figures)
        self._embed(self._batch)
        if len(self._pending) >= COMMIT_FIGURES:
            self._commit()
            self._database.begin()

    def _reused(self, taken: Taken) -> Sequence[KnownFigure | EmbeddedFigure | ReadyFigure]:
        """Return what the register holds of a sheet of the same bytes, or else cut it now."""
        if self._known.sheet_of(taken.sha256) in {p.record.sheet for p in self._pending}:
            self._commit()
            self._database.begin()
        known = self._known.figures(taken.sha256, taken.sheet)
        if known is not None:
            return known
        data = taken.data or taken.sheet.read()
        if hashlib.sha256(data).hexdigest() != taken.sha256:
            raise DrawingError(
                f"{taken.sheet.where}: changed while it was read", hint="index it again"
            )
        return self._cutters.submit(_task(taken.sheet, data)).result()

    def _compare_with_stated(self, design: Design) -> None:
        found = self._numbered
        if design.stated_figures is not None and design.stated_figures != found:
            stated = f"the office states {counted(design.stated_figures, 'figure')}"
            self._result.notes.append(Note(design.where, f"{stated}, the cut found {found}"))

    def _report(self, where: str, reason: str) -> None:
        problem = Problem(in_unicode(where), in_unicode(reason))
        self._result.problems.append(problem)
        put_problem(self._database, problem)

    def _embed(self, least: int) -> None:
        """Embed what is pending, a batch at a time, while `least` or more figures are."""
        waiting = [pending.image for pending in self._pending if pending.image is not None]
        waiting = waiting[sum(map(len, self._vectors)) :]
        while len(waiting) >= max(least, 1):
            self._vectors.append(self._encoder.embed(np.stack(waiting[: self._batch])))
            waiting = waiting[self._batch :]

    def _commit(self) -> None:
        """Embed what is pending, write the vectors to the disk, then end the transaction."""
        if self._pending:
            self._embed(1)
            empty = np.zeros((0, self._encoder.dim), np.float32)
            embedded = iter(np.concatenate([*self._vectors, empty]))
            vectors = np.array(
                [next(embedded) if p.vector is None else p.vector for p in self._pending],
                np.float32,
            )
            good = np.isclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)  # NaN is not close
            if vectors.shape != (len(self._pending), self._encoder.dim) or not good.all():
                raise RegisterError(
                    f"{self._pending[int(np.argmin(good))].place}: its vector is not of length 1",
                    hint="check the bundle on this device: edge-ret doctor BUNDLE",
                )
            moment("embedded")
            records = [pending.record for pending in self._pending]
            put_figures(self._database, self._store, records, vectors)
            moment("vectors written")
        moment("before commit")
        self._database.commit()
        moment("committed")
        self._ahead.difference_update(self._done)
        self._pending, self._vectors, self._done = [], [], []


def _task(sheet: Sheet, data: bytes) -> SheetTask:
    return SheetTask(data, sheet.where, sheet.boxes, sheet.single)


def _problem(sheet: Sheet, error: DrawingError) -> Problem:
    return Problem(sheet.where, str(error).removeprefix(f"{sheet.where}: "))
