"""What the one writer does besides adding: remove, compact, merge, and bring up to date."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Sequence
from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import RegisterError
from edge_retrieval.progress import Track
from edge_retrieval.register.copying import Copier, DesignReader, only_sheets
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import replace_database, writing
from edge_retrieval.register.making import building, new_store, remove_caches, remove_old_files
from edge_retrieval.register.manifest import write_manifest
from edge_retrieval.register.reading import has_sheet, read_design
from edge_retrieval.register.records import AddResult
from edge_retrieval.register.writing import Store, bury_designs, put_problem
from edge_retrieval.sources.design import Problem


def remove(database: Database, numbers: Sequence[str]) -> int:
    """Mark designs as removed, all or none; return how many.

    Raises:
        RegisterError: One of them is not there.
    """
    database.begin()
    gone, missing = bury_designs(database, numbers)
    if missing:
        known = [number for (number,) in database.all("SELECT number FROM designs WHERE dead = 0")]
        near = difflib.get_close_matches(missing[0], known, n=5)
        raise RegisterError(
            f"{database.path.parent}: no design {missing[0]}; nothing was removed",
            hint=f"near it: {', '.join(near)}" if near else "check the number's spelling",
        )
    database.commit()
    return gone


def compact(database: Database, store: Store, reader: DesignReader, track: Track) -> None:
    """Write all living designs anew, by class: rows of a class lie side by side.

    Args:
        database: Of the writer.
        store: Of the epoch that ends.
        reader: Of the same register, as it is now.
        track: Shows progress.
    """
    folder = database.path.parent
    epoch = database.state().epoch + 1
    fresh = new_store(folder, epoch, store.dim)
    database.begin()
    try:
        for table in ("designs", "nodes", "sheets", "figures", "batches"):
            database.all(f"DELETE FROM {table}")
        copier = Copier(database, fresh)
        keys = reader.keys(by_class=True)
        for key in track(keys, "Compacting", len(keys)):
            copier.put(reader.read(key))
        copier.flush()
        database.commit(epoch=epoch)
    except BaseException:
        database.rollback()
        if database.state().epoch != epoch:  # else an interrupt came after the commit
            for path in (fresh.vectors, fresh.pictures):
                with contextlib.suppress(OSError):
                    path.unlink()
        raise
    remove_caches(folder)


def merge(database: Database, store: Store, other: DesignReader, track: Track) -> AddResult:
    """Add the designs of another register; what is here already, by number and bytes, stays.

    Raises:
        RegisterError: Something of the other is damaged; what came before it is kept.
    """
    result = AddResult()
    copier = Copier(database, store)
    database.begin()
    for problem in other.problems():
        put_problem(database, problem)
    keys = other.keys(by_class=False)
    for at, key in enumerate(track(keys, "Merging", len(keys)), start=1):
        whole = other.read(key)
        design = whole.design
        found = read_design(database, design.number)
        if found is None:
            copier.put(whole)
            result.designs_added += 1
        elif design.labels and found[1].labels not in ((), design.labels):
            result.problems.append(
                Problem(
                    design.where,
                    f"the number {design.number} is taken by a design in {found[1].labels[-1]} "
                    f"({found[1].where}); this one is in {design.labels[-1]}",
                )
            )
            continue
        else:
            keep = [not has_sheet(database, found[0], sha256) for _, sha256 in whole.sheets]
            result.unchanged += keep.count(False)
            whole = only_sheets(whole, keep)
            copier.put_figures_of(whole, found[0], found[1].figures_count)
        result.figures_added += len(whole.figures)
        result.sheets_read += len(whole.sheets)
        if copier.flushed or at == len(keys):
            copier.flush()
            database.commit()
            database.begin()
            copier.flushed = False
    database.commit()
    return result


def upgrade(folder: Path, bundle: Bundle, levels: Sequence[str], reader: DesignReader) -> None:
    """Bring a register of schema 1 up to date; until the last step it is what it was.

    Args:
        folder: The register, under the writer's lock.
        bundle: Its bundle.
        levels: Its levels.
        reader: Of what it holds.
    """
    store = new_store(folder, 0, bundle.dim)
    with building(folder, bundle.fingerprint) as database:
        database.begin()
        copier = Copier(database, store)
        for key in reader.keys(by_class=False):
            copier.put(reader.read(key))
        copier.flush()
        for problem in reader.problems():
            put_problem(database, problem)
        database.commit()
    with writing(folder):
        write_manifest(folder, bundle, levels)
    replace_database(folder)
    remove_old_files(folder)
