"""How the one writer comes in and goes out, and what a reader holds a database against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import BundleError, BundleMismatchError, RegisterError
from edge_retrieval.register.columns import save_columns
from edge_retrieval.register.database import DAMAGED, Database
from edge_retrieval.register.files import pictures_name, vectors_name
from edge_retrieval.register.making import BUNDLE, DATABASE, remove_strays
from edge_retrieval.register.manifest import AGAIN, read_manifest
from edge_retrieval.register.state import Head, State, crc_of_file, read_head, write_head
from edge_retrieval.register.tabling import make_columns
from edge_retrieval.register.writing import Store


def open_bundle(folder: Path) -> tuple[tuple[str, ...], Bundle]:
    """Return the levels of a register and its bundle, the one that made its vectors.

    Raises:
        RegisterError: It is no register, or register.json is damaged or newer.
        BundleMismatchError: The bundle is another one.
        BundleError: The bundle is broken.
    """
    manifest = read_manifest(folder)
    try:
        bundle = Bundle.open(folder / BUNDLE)
    except BundleError as error:  # of a register nobody exports the encoder again
        hint = error.hint if "upgrade" in error.hint else AGAIN
        raise BundleError(str(error), hint=hint) from error
    if bundle.fingerprint != manifest.fingerprint:
        raise BundleMismatchError(
            f"{folder}: its bundle is not the one that made its vectors", hint=AGAIN
        )
    return manifest.levels, bundle


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
        with contextlib.suppress(ValueError):
            if head := read_head(folder):
                require_head(database.path, state, head)
        write_head(folder, Head(state.generation, state.snapshot))
        remove_strays(folder, state.epoch)
        store = Store(folder / vectors_name(state.epoch), folder / pictures_name(state.epoch), dim)
        store.begin(database)
        try:
            yield database, store
        except BaseException:
            database.rollback()
            with contextlib.suppress(RegisterError):  # the first error is the one to tell
                rest(folder, database)
            raise
        rest(folder, database)


def rest(folder: Path, database: Database) -> None:
    """Bring the register to rest: an empty log, fresh columns, a head that tells everything."""
    database.rollback()
    state = database.state()
    remove_strays(folder, state.epoch)
    save_columns(folder, make_columns(database), state)
    settled = False
    with contextlib.suppress(RegisterError):  # no room: the log stays, and nothing is lost
        settled = database.settle()
    if settled:
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
