"""How the one writer comes in, and how it leaves a register at rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.columns import Columns, load_columns, save_columns
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import DATABASE, pictures_name, vectors_name
from edge_retrieval.register.making import remove_strays
from edge_retrieval.register.sharing import size_and_crc
from edge_retrieval.register.state import (
    Head,
    State,
    read_head_or_none,
    require_head,
    write_head,
)
from edge_retrieval.register.tabling import make_columns
from edge_retrieval.register.writing import Store


@contextlib.contextmanager
def writing_in(folder: Path, dim: int) -> Iterator[tuple[Database, Store]]:
    """Write in a register, under the writer's lock.

    While it is written, the head tells nothing of the database's file. In the end the log is
    brought into the file, the columns are made, and the head tells the file's checksum.

    Raises:
        RegisterError: No permission, or something committed is gone.
    """
    with contextlib.closing(Database.open(folder / DATABASE, write=True)) as database:
        state = database.state()
        if head := read_head_or_none(folder):
            require_head(database.path, state, head)
        write_head(folder, Head(state.generation, state.snapshot))
        base = None
        with contextlib.suppress(RegisterError):
            base = load_columns(folder, state)
        remove_strays(folder, state.epoch)
        store = Store(folder / vectors_name(state.epoch), folder / pictures_name(state.epoch), dim)
        store.begin(database)
        try:
            yield database, store
        except BaseException:
            database.rollback()
            with contextlib.suppress(RegisterError):  # the first error is the one to tell
                rest(folder, database, base, state)
            raise
        rest(folder, database, base, state)


def rest(
    folder: Path, database: Database, base: Columns | None = None, before: State | None = None
) -> None:
    """Bring the register to rest: an empty log, fresh columns, a head that tells everything.

    Args:
        folder: The register.
        database: Of the writer, with no transaction open.
        base: Columns of the state in which the writer met it, if there were any.
        before: That state.
    """
    database.rollback()
    state = database.state()
    remove_strays(folder, state.epoch)
    if base is None or before is None or before.epoch != state.epoch:
        save_columns(folder, make_columns(database), state)
    elif before != state:
        save_columns(folder, make_columns(database, base, database.touched), state)
    settled = False
    with contextlib.suppress(RegisterError):  # no room: the log stays, and nothing is lost
        settled = database.settle()
    if settled:
        write_head(folder, Head(state.generation, state.snapshot, *size_and_crc(database.path)))
    else:
        write_head(folder, Head(state.generation, state.snapshot))
