"""Repairing a register: what is sound is kept, what is damaged is named and let go.

Whatever is read is held against its checksum, as always. A database whose pages are damaged is read
record by record, by the records' own numbers, without its indexes; all that is sound is written
into new files, which take the place of the old ones only when they stand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import RegisterError
from edge_retrieval.index.caches import faults
from edge_retrieval.progress import Track, silent
from edge_retrieval.register.columns import COLUMNS, state_of_columns
from edge_retrieval.register.copying import Copier
from edge_retrieval.register.database import SCHEMA, Database
from edge_retrieval.register.files import (
    DATABASE,
    LOCK,
    NEW,
    finish_replacing,
    pictures_name,
    replace_database,
    vectors_name,
    writer_lock,
    writing,
)
from edge_retrieval.register.folder import Register
from edge_retrieval.register.making import building, new_store, remove_caches
from edge_retrieval.register.manifest import damages_of_manifest
from edge_retrieval.register.opening import open_bundle
from edge_retrieval.register.salvaging import OLD, Salvage, attempt
from edge_retrieval.register.state import AGAIN, HEAD, read_head
from edge_retrieval.register.verifying import require_columns
from edge_retrieval.register.working import rest
from edge_retrieval.register.writing import put_problem


def faults_of(folder: Path) -> list[str]:
    """Return what is wrong with a register, a line each, even if it cannot be opened.

    Raises:
        RegisterError: It is no register, or of a newer schema.
        BundleError: Its bundle is damaged.
    """
    open_bundle(folder)
    try:
        with Register.open(folder) as register:
            return register.verify()
    except RegisterError as error:
        return [str(error)]


def can_mend(folder: Path) -> bool:
    """Say whether `repair` may help a register that has faults.

    It has nothing to mend from where a file is gone: the database, its vectors, its pictures; and
    it never changes the bundle or register.json.
    """
    if any(damages_of_manifest(folder)):
        return False
    try:
        with contextlib.closing(Database.open(folder / DATABASE)) as database:
            if database.schema < SCHEMA:
                return False
            state = attempt(database.state)
    except RegisterError:
        state = None
    state = state or attempt(lambda: state_of_columns(folder))
    names = [vectors_name(state.epoch), pictures_name(state.epoch)] if state else []
    return bool(names) and all((folder / name).is_file() for name in [DATABASE, *names])


def repair(folder: Path, *, track: Track = silent) -> list[str]:
    """Mend a register; return what was done, a line each; nothing if nothing is wrong.

    Caches are made anew. Designs of which a record, a vector or a picture is damaged are dropped
    and named; all others are kept.

    Raises:
        RegisterError: It cannot be mended: register.json is damaged, the database cannot be read at
            all, a file is gone, nothing is sound, another writer is at work, no permission, a full
            disk.
        BundleError: Its bundle is damaged: copy that again.
    """
    _, bundle = open_bundle(folder)
    with writer_lock(folder / LOCK):
        finish_replacing(folder)  # of a repair that was killed
        found = faults_of(folder)
        if not found:
            return []
        done = _drop_damaged_caches(folder)
        found = faults_of(folder)
        if found and not can_mend(folder):
            raise RegisterError(f"{found[0]}: this cannot be mended", hint=AGAIN)
        if found:
            try:
                done += _build_anew(folder, bundle, track)
            except RegisterError as error:
                if "--repair" not in error.hint:
                    raise
                reason = str(error).replace(OLD, DATABASE)
                raise RegisterError(f"{reason}: this cannot be mended", hint=AGAIN) from error
        with contextlib.closing(Database.open(folder / DATABASE, write=True)) as database:
            if database.schema == SCHEMA:  # else only caches of an old one were dropped
                rest(folder, database)
    return done


def _drop_damaged_caches(folder: Path) -> list[str]:
    """Delete caches that are damaged; they are made anew."""
    done = []
    checks: dict[str, Callable[[Path], object]] = {COLUMNS: require_columns, HEAD: read_head}
    for name, check in checks.items():
        try:
            check(folder)
        except (RegisterError, ValueError):
            with writing(folder):
                (folder / name).unlink()
            done.append(f"{name} was damaged: made anew")
    if faults(folder):
        remove_caches(folder)
        done.append("what makes a search faster was damaged: it is made anew by the next writer")
    return done


def _build_anew(folder: Path, bundle: Bundle, track: Track) -> list[str]:
    """Write what is sound into new files, and let them take the place of the old ones."""
    store = None
    stands = False
    try:
        salvage = Salvage(folder, bundle.dim)
        store = new_store(folder, salvage.epoch, bundle.dim)
        with building(folder, bundle.fingerprint) as database:
            database.begin()
            copier = Copier(database, store)
            for whole in track(salvage.designs(), "Repairing"):
                copier.put(whole)
            copier.flush()
            if salvage.lost and not database.count("SELECT count(*) FROM designs"):
                raise RegisterError(f"{folder}: no design in it is sound", hint=AGAIN)
            for problem in salvage.problems():
                put_problem(database, problem)
            database.commit(epoch=salvage.epoch, generation=salvage.generation)
        salvage.close()
        stands = True
        replace_database(folder)
    except BaseException:
        # Once the new database is named ready it counts, whatever comes after.
        if store is not None and not (stands and not (folder / NEW).exists()):
            for path in (store.vectors, store.pictures, *folder.glob(f"{NEW}*")):
                with contextlib.suppress(OSError):
                    path.unlink()
        raise
    finally:
        try:
            _drop_copies(folder)
        finally:  # an interrupt: once more
            _drop_copies(folder)
    remove_caches(folder)
    return salvage.lost or ["the database was written anew; nothing was lost"]


def _drop_copies(folder: Path) -> None:
    for path in folder.glob(f"{OLD}*"):
        with contextlib.suppress(OSError):
            path.unlink()
