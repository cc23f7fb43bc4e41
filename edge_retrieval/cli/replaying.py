"""The command that searches again as a record tells, and says whether the answer is the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.limiting import DRAWINGS
from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    BackendOption,
    JsonFlag,
    RegisterOption,
    StoreOption,
    answer,
    chosen_backend,
    find_register,
    one_line,
    opened_store,
    print_json,
    read_drawing,
)
from edge_retrieval.errors import RecordError

LIMITED = {"replay": DRAWINGS}


def replay(
    record: Annotated[Path, typer.Argument(help="What edge-ret search --record wrote.")],
    register_path: RegisterOption = None,
    drawing: Annotated[
        list[Path] | None,
        typer.Option("--drawing", help="A drawing that the record holds no copy of. Repeatable."),
    ] = None,
    store: StoreOption = None,
    backend: BackendOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Search again as a record tells: the same ranks and scores, or what has changed.

    Exit code 0: the same designs in the same order; 1: something changed, and is told.

    Example: edge-ret replay search.json --register my-register
    """
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.evidence import read_record
    from edge_retrieval.evidence import replay as run_replay

    try:
        told = read_record(record.read_bytes(), where=str(record))
    except OSError as error:
        raise RecordError(
            f"{record} cannot be read: {error.strerror}", hint="check the path of the record"
        ) from error
    given = [read_drawing(path) for path in drawing or []]
    with find_register(register_path) as register:
        encoder = load_encoder(
            register.bundle, backend=chosen_backend(register.bundle, backend), keep=True
        )
        found_in = opened_store(store, register)
        found = run_replay(
            told,
            register,
            encoder,
            drawings={hashlib.sha256(data).hexdigest(): data for data in given},
            store=found_in,
        )
    if found_in is not None:
        found_in.close()
    if as_json:
        print_json(
            {
                "schema": 1,
                "record": str(record),
                "sha256": told["sha256"],
                "same": found.same,
                "identical": found.identical,
                "largest": found.largest,
                "hits": found.hits,
                "changes": list(found.changes),
                "notes": list(found.notes),
            }
        )
    else:
        answer(one_line(f"{found.statement}; recorded {told['created']}"))
        for change in found.changes:
            answer(one_line(f"  changed: {change}"))
        for note in found.notes:
            answer(one_line(f"  note: {note}"))
    if not found.same:
        raise typer.Exit(EXIT_FIXABLE)
