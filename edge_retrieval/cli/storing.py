"""Commands that fill a store from a register, and measure what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_retrieval.cli.talk import JsonFlag, answer, bar, count, one_line, print_json, say

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
