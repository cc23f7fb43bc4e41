"""Reading what is sound of a damaged database, without trusting its indexes or its pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.columns import load_columns, state_of_columns
from edge_retrieval.register.copying import DesignReader, WholeDesign, damaged
from edge_retrieval.register.database import SCHEMA, Database
from edge_retrieval.register.files import (
    DATABASE,
    RowReader,
    pictures_name,
    vectors_name,
    width_of,
    writing,
)
from edge_retrieval.register.reading import design_digest
from edge_retrieval.register.sharing import pieces_of
from edge_retrieval.register.state import read_head
from edge_retrieval.sources.design import Problem
from edge_retrieval.taxonomy import LabelPath

OLD = f"{DATABASE}.part"
"""The copy of the damaged database that is read."""

FIXED = {
    0: b"SQLite format 3\0" + bytes([0x10, 0, 2, 2, 0, 64, 32, 32]),  # page size, log, shares
    28: bytes(4),  # how many pages: as many as the file has
    44: bytes([0, 0, 0, 4, *[0] * 11, 1, 0, 0, 0, SCHEMA, *[0] * 28]),  # format, text, schema
}
"""What stands in the header of every such database."""

Record = tuple[Any, ...]
Found = TypeVar("Found")


class Salvage:
    """What is left of a register.

    Args:
        folder: The register, under the writer's lock.
        dim: Numbers in a vector.

    Attributes:
        epoch: For the new files.
        generation: For the new database: after all that was ever told.
        lost: What could not be kept, a line each; complete after `designs`.

    Raises:
        RegisterError: The database cannot be read at all, or a file is missing.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.lost: list[str] = []
        self._columns = attempt(lambda: load_columns(folder))
        self._database = _copy_of(folder)
        stood, self.generation = self._stood(folder)
        names = [path.stem for path in folder.glob("vectors-*.f32")]
        epochs = [int(name.split("-")[1]) for name in names if name.split("-")[1].isdecimal()]
        self.epoch = max([stood, *epochs]) + 1
        vectors = folder / vectors_name(stood)
        self._reader = DesignReader(
            self._database,
            RowReader(vectors, dim),
            RowReader(folder / pictures_name(stood), dim),
            None,
        )
        self._rows = vectors.stat().st_size // width_of(dim)

    def _stood(self, folder: Path) -> tuple[int, int]:
        """Return the epoch that counts, and a generation after all that are told.

        The columns are a cache, which may be of another moment or of another register. They are
        believed only where they are of the very state that the database tells or, where it cannot
        tell any more, the head.
        """
        state = attempt(self._database.state)
        kept = attempt(lambda: state_of_columns(folder))
        head = attempt(lambda: read_head(folder))
        stood = state or kept
        if stood is None:
            raise damaged(self._database, "nothing tells which vectors count")
        as_told = head is not None and kept is not None and head[:2] == (kept[0], kept[2])
        if not (kept == state if state else as_told):
            self._columns = None
        newest = max(stood.generation, head.generation if head else 0)
        if state is not None and state.generation < newest:
            self.lost.append(f"what was committed after generation {state.generation} is lost")
        return stood.epoch, newest + 1

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def problems(self) -> list[Problem]:
        """Return what could not be read while adding."""
        return attempt(self._reader.problems) or []

    def designs(self) -> Iterator[WholeDesign]:
        """Yield the designs that are sound; note the others."""
        designs = self._records("designs", "id")
        sheets, figures = defaultdict(list), defaultdict(list)
        for record in self._records("sheets", "id").values():
            sheets[record[1]].append(record)
        for record in self._records("figures", "row").values():
            figures[record[1]].append(record)
        paths = self._paths()
        columns = self._columns
        known = 0 if columns is None else len(columns.alive)
        # Not up to the largest: that may be a damaged one beyond all numbers.
        for key in sorted({*range(1, known + 1), *(key for key in designs if key > 0)}):
            one = designs.get(key)
            if one is None:
                if columns is not None and key <= len(columns.alive) and columns.alive[key - 1]:
                    self.lost.append(f"design {columns.number(key - 1)} was dropped: it is gone")
                continue
            try:
                whole = self._whole(one, paths, sheets[key], figures[key])
            except (RegisterError, TypeError, ValueError, OverflowError) as error:
                reason = str(error).rpartition("damaged: ")[2]
                self.lost.append(f"design {self._name(one)} was dropped: damaged: {reason}")
                continue
            if whole is not None:
                yield whole

    def _whole(
        self,
        one: Record,
        paths: dict[int, list[LabelPath]],
        sheets: list[Record],
        figures: list[Record],
    ) -> WholeDesign | None:
        """Return a living design, None for a dead one; `RegisterError` if it is damaged."""
        key, number, node, source, dead, text, digest = one
        labels = next(
            (
                path
                for path in paths.get(node, [])
                if digest == design_digest(number, path, source, dead, text)
            ),
            None,
        )
        if labels is not None and dead:
            return None
        figures.sort(key=lambda record: record[3])
        whole = self._reader.whole(one, labels, sheets, figures)
        gap = [record[3] for record in figures] != list(range(1, len(figures) + 1))
        if gap or not figures or len(figures) < self._expected(key):
            raise damaged(self._database, f"a figure of {number} is gone")
        return whole

    def _expected(self, key: int) -> int:
        """Return how many figures the columns know of a design; 0 if they do not tell."""
        if self._columns is None:
            return 0
        return int(np.count_nonzero(self._columns.design_of == key - 1))

    def _name(self, one: Record) -> str:
        key, columns = one[0], self._columns
        if columns is not None and key <= len(columns.alive):
            return columns.number(key - 1)
        return str(one[1])

    def _paths(self) -> dict[int, list[LabelPath]]:
        """Return the label paths that each class may have: what is told, and what was told."""
        paths: dict[int, list[LabelPath]] = {0: [()]}
        if self._columns is not None:
            paths |= {node: [path] for node, path in enumerate(self._columns.paths)}
        for node, parent, name in sorted(self._records("nodes", "id").values()):
            if not (isinstance(parent, int) and isinstance(name, str) and parent < node):
                continue  # damaged
            above = paths.get(parent, [])
            paths.setdefault(node, []).extend((*path, name) for path in above)
        return paths

    def _records(self, table: str, key: str) -> dict[int, Record]:
        """Return the records of a table by their numbers: all together, else one by one."""
        found: dict[int, Record] = {}
        try:
            for record in self._database.each(f"SELECT * FROM {table} NOT INDEXED ORDER BY {key}"):
                if type(record[0]) is int:  # else of a damaged page
                    found[record[0]] = record
        except RegisterError:
            sql = f"SELECT * FROM {table} NOT INDEXED WHERE {key} = ?"
            for number in range(self._rows + 1):
                if number not in found and (
                    record := attempt(lambda n=number: self._database.one(sql, n))  # type: ignore[misc]
                ):
                    found[number] = record
        return found


def _copy_of(folder: Path) -> Database:
    """Open a copy of a register's database, its header and its size as they must be."""
    path, head = folder / OLD, attempt(lambda: read_head(folder))
    with writing(folder):
        for suffix in ("", "-wal"):
            if (folder / f"{DATABASE}{suffix}").exists():
                with (folder / f"{OLD}{suffix}").open("wb") as copy:
                    copy.writelines(pieces_of(folder / f"{DATABASE}{suffix}"))
        with path.open("r+b") as file:
            for offset, right in FIXED.items():
                file.seek(offset)
                file.write(right)
            if head is not None:  # cut short: pages of zeros are damage, no pages are the end
                file.truncate(max(path.stat().st_size, head.database_bytes))
    return Database.open(path)


def attempt(do: Callable[[], Found]) -> Found | None:
    """Return what `do` returns; None if what it reads is damaged."""
    try:
        return do()
    except (RegisterError, ValueError):
        return None
