"""How the one writer comes in and goes out, and what a reader holds a database against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.columns import save_columns
from edge_retrieval.register.database import DAMAGED, Database
from edge_retrieval.register.files import pictures_name, vectors_name, writer_lock
from edge_retrieval.register.making import DATABASE, LOCK
from edge_retrieval.register.state import Head, State, crc_of_file, read_head, write_head
from edge_retrieval.register.tabling import make_columns
from edge_retrieval.register.writing import Store


@contextlib.contextmanager
def writing_in(folder: Path, dim: int) -> Iterator[tuple[Database, Store]]:
    """Be the only writer of a register.

    While it is written, the head tells nothing of the database's file. In the end the log is
    brought into the file, the columns are made, and the head tells the file's checksum.

    Raises:
        RegisterError: Another writer is at work, no permission, or something committed is gone.
    """
    with writer_lock(folder / LOCK):
        database = Database.open(folder / DATABASE, write=True)
        try:
            state = database.state()
            with contextlib.suppress(ValueError):
                if head := read_head(folder):
                    require_head(database.path, state, head)
            write_head(folder, Head(state.generation, state.snapshot))
            remove_strays(folder, state.epoch)
            store = Store(
                folder / vectors_name(state.epoch), folder / pictures_name(state.epoch), dim
            )
            store.begin(database)
            try:
                yield database, store
            finally:
                database.rollback()
                rest(folder, database)
        finally:
            database.close()


def rest(folder: Path, database: Database) -> None:
    """Bring the register to rest: an empty log, fresh columns, a head that tells everything."""
    state = database.state()
    save_columns(folder, make_columns(database), state)
    if database.settle():
        size, crc = database.path.stat().st_size, crc_of_file(database.path)
        write_head(folder, Head(state.generation, state.snapshot, size, crc))
    else:
        write_head(folder, Head(state.generation, state.snapshot))


def require_head(path: Path, state: State, head: Head) -> None:
    """Refuse a database that stands before its head: something that was committed is gone.

    Raises:
        RegisterError: It does.
    """
    behind = state.generation < head.generation
    if behind or (state.generation == head.generation and state.snapshot != head.snapshot):
        raise RegisterError(
            f"{path}: damaged: it stands at generation {state.generation}, "
            f"but {head.generation} was committed",
            hint=DAMAGED,
        )


def remove_strays(folder: Path, epoch: int) -> None:
    """Remove files of other epochs, left by a compaction or by its end."""
    kept = {vectors_name(epoch), pictures_name(epoch)}
    for path in [*folder.glob("vectors-*.f32"), *folder.glob("pictures-*.bin")]:
        if path.name not in kept:
            with contextlib.suppress(OSError):  # on Windows a reader may still hold it
                path.unlink()
