"""Commands that fill a store from a register, measure what it finds, list and drop collections."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    JsonFlag,
    answer,
    bar,
    count,
    one_line,
    print_json,
    print_table,
    say,
)
from edge_retrieval.errors import ConfigError

if TYPE_CHECKING:
    from edge_retrieval.register import Register
    from edge_retrieval.store import Address, Overlap

RegisterArgument = Annotated[Path, typer.Argument(metavar="REGISTER")]
AddressOption = Annotated[
    str,
    typer.Option(
        "--to", metavar="STORE", help="milvus:http://HOST:19530, or milvus:FILE.db on this machine."
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="The collection.", show_default="edge_ret")
]


def push(
    register_path: RegisterArgument,
    to: AddressOption,
    name: NameOption = None,
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            help="hnsw: a graph, fast and nearly exact. flat: compare everything. Of a new"
            " collection only.",
            show_default="hnsw",
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Then measure what it finds, as check does.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Even if most of what the collection holds would go.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fill a store from a register, or bring it up to date; stopped, it goes on next time.

    Example: edge-ret store push my-register --to milvus:http://localhost:19530 --measure
    """
    from edge_retrieval.register import Register
    from edge_retrieval.store import push as run_push
    from edge_retrieval.store import read_address

    address = read_address(to, name)
    with Register.open(register_path) as register:
        done = run_push(register, address, index=index, replace=replace, track=bar)
        measured = _measured(register, address) if measure else None
    told: dict[str, Any] = {"schema": 1, "store": str(address), **done._asdict()}
    if as_json:
        print_json(told | {"overlap": _as_data(measured)})
        return
    answer(
        one_line(
            f"{address}: {count(done.added, 'figure')} added, {done.removed} removed;"
            f" it holds {count(done.designs, 'design')}, {count(done.figures, 'figure')}"
        )
    )
    _say_overlap(measured)
    say(f"next: edge-ret search DRAWING -r {register_path} --store {address}")


def check(
    register_path: RegisterArgument,
    to: AddressOption,
    name: NameOption = None,
    figures: Annotated[
        int, typer.Option("--figures", help="How many of its figures to search with.", min=1)
    ] = 100,
    as_json: JsonFlag = False,
) -> None:
    """See that a store holds what a register does, and measure how many of the nearest it finds.

    Figures of the register are searched with both ways. What comes of it is kept in the store, and
    told beside every answer.

    Example: edge-ret store check my-register --to milvus:http://localhost:19530
    """
    from edge_retrieval.register import Register
    from edge_retrieval.store import read_address

    address = read_address(to, name)
    with Register.open(register_path) as register:
        measured = _measured(register, address, figures)
    if as_json:
        print_json({"schema": 1, "store": str(address), "overlap": _as_data(measured)})
        return
    answer(one_line(f"{address}: it holds what {register_path} does"))
    _say_overlap(measured)


def list_kept(
    to: AddressOption,
    register_path: Annotated[
        Path | None,
        typer.Option("--register", "-r", help="Say of each whether it holds what this one does."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the collections of registers in a store.

    Example: edge-ret store list --to milvus:http://localhost:19530 -r my-register
    """
    from edge_retrieval.register import Register
    from edge_retrieval.store import kept_in, read_address

    address = read_address(to)
    with contextlib.ExitStack() as opened:
        register = opened.enter_context(Register.open(register_path)) if register_path else None
        kept = kept_in(address)
        holds = _holding(kept.stamps, address, register)
    if as_json:
        print_json(
            {
                "schema": 1,
                "store": address.uri,
                "server": kept.server,
                "others": kept.others,
                "collections": [
                    {"collection": name, **stamp, "up_to_date": holds[name]}
                    for name, stamp in kept.stamps.items()
                ],
            }
        )
        return
    if kept.stamps:
        rows = [_listed(name, stamp, holds[name]) for name, stamp in kept.stamps.items()]
        print_table(f"{address.uri} ({kept.server})", LISTED, rows)
    else:
        answer(one_line(f"{address.uri} ({kept.server}): no collection of edge-ret"))
    if kept.others:
        say(f"and {count(kept.others, 'collection')} of other programs")


LISTED = (
    ("collection", "left"),
    ("designs", "right"),
    ("figures", "right"),
    ("encoder", "left"),
    ("index", "left"),
    ("overlap@10", "right"),
    ("contents", "left"),
    ("up to date", "cut"),
)


def _listed(name: str, stamp: Mapping[str, Any], holds: bool | None) -> tuple[str, ...]:
    """Return the cells of one collection; what an unknown version did not write stays empty."""
    overlap = (stamp.get("overlap") or {}).get("all")
    return (
        name,
        f"{stamp.get('designs') or 0:,}",
        f"{stamp.get('figures') or 0:,}",
        str(stamp.get("encoder") or ""),
        str(stamp.get("index") or ""),
        "" if overlap is None else f"{overlap:.3f}",
        str(stamp.get("contents") or "unfinished")[:12],
        "" if holds is None else "yes" if holds else "no",
    )


def _holding(
    stamps: Mapping[str, dict[str, Any]], address: Address, register: Register | None
) -> dict[str, bool | None]:
    """Say of each collection whether it holds what a register does; None: none is given."""
    from edge_retrieval.store import holds

    if register is None:
        return dict.fromkeys(stamps)
    contents = functools.cache(lambda: register.contents)
    return {name: holds(register, stamp, contents) for name, stamp in stamps.items()}


def drop(
    to: AddressOption,
    name: Annotated[str, typer.Option("--name", help="The collection.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a register's collection from a store. The register is left as it is.

    Example: edge-ret store drop --to milvus:http://localhost:19530 --name my_designs
    """
    from edge_retrieval.store import drop as run_drop
    from edge_retrieval.store import read_address, stamp_to_drop

    address = read_address(to, name)
    if not yes:
        held = stamp_to_drop(address)
        meant = f"{address}: {count(held.get('figures') or 0, 'figure')}"
        if not (sys.stdin and sys.stdin.isatty()):
            raise ConfigError(f"{meant} would go: nothing was removed", hint="say so with --yes")
        if not typer.confirm(one_line(f"{meant}. Remove them?"), err=True):
            raise typer.Exit(EXIT_FIXABLE)
    gone = run_drop(address)
    answer(one_line(f"{address}: removed, with {count(gone.get('figures') or 0, 'figure')}"))


def _measured(register: Register, address: Address, figures: int = 100) -> Overlap:
    from edge_retrieval.store import keep_overlap, open_store, overlap_with

    with open_store(address, register) as store:
        measured = overlap_with(store, register, figures=figures, track=bar)
        keep_overlap(store, measured)
    return measured


def _as_data(measured: Overlap | None) -> dict[str, Any] | None:
    if measured is None:
        return None
    told = measured._asdict()
    return {"all": told.pop("all"), "class": told.pop("class_"), **told}


def _say_overlap(measured: Overlap | None) -> None:
    if measured is None:
        return
    by = f"{count(measured.figures, 'figure')} of the register, searched with both ways"
    answer(f"overlap@10: {measured.all:.3f} without a filter ({by})")
    if measured.class_ is not None:
        answer(f"overlap@10: {measured.class_:.3f} within a class")
    if measured.too_few:
        times = count(measured.too_few, "search").replace("searchs", "searches")
        answer(f"in {times} it named too few designs, and the register was searched")
