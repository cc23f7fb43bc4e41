"""Commands that fill a register and search in it: index and search."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    EXIT_SKIPPED,
    BackendOption,
    BundleOption,
    DimOption,
    JsonFlag,
    StrictFlag,
    bar,
    chosen_backend,
    count,
    open_bundle,
    print_json,
    say,
    show_problems,
)
from edge_retrieval.errors import SourceError

if TYPE_CHECKING:
    from edge_retrieval.bundle import Bundle
    from edge_retrieval.register import Register
    from edge_retrieval.sources import Design, Problem

LOOK_AHEAD = 32
"""Designs that are read before a register is made: their labels tell how deep its taxonomy is."""


@dataclass(frozen=True)
class Counted:
    """Designs, and about how many they are; 0: unknown."""

    items: Iterable[Design | Problem]
    count: int

    def __iter__(self) -> Iterator[Design | Problem]:
        return iter(self.items)

    def __length_hint__(self) -> int:
        return self.count


def index(
    source: Annotated[
        Path, typer.Argument(help="USPTO grants, DeepPatent2, a folder tree or a metadata table.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Register to make or to add to.")] = Path(
        "register"
    ),
    kind: Annotated[
        str,
        typer.Option("--source", help="auto, uspto, deeppatent2, folder or table."),
    ] = "auto",
    bundle: BundleOption = None,
    dim: DimOption = None,
    backend: BackendOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Processes that cut sheets; as many as cores if not given."
        ),
    ] = None,
    strict: StrictFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Read designs from SOURCE, embed their figures, keep them in a register.

    Indexing the same files again adds nothing. Example: edge-ret index grants/ -o my-register
    """
    from edge_retrieval.cli.caching import make_caches
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.provenance import available_cores
    from edge_retrieval.register import Register, is_register
    from edge_retrieval.sources import expected_designs, open_source
    from edge_retrieval.sources.design import counted

    designs = open_source(source, kind=kind)
    # An unreadable source ends here, before anything is made.
    first = list(itertools.islice(designs, LOOK_AHEAD))
    if not first:
        raise SourceError(f"{source} holds no designs", hint="see --source for the kinds it can be")
    total = len(first) if len(first) < LOOK_AHEAD else expected_designs(source, kind=kind)
    is_new = not is_register(out)
    if is_new:
        encoding = open_bundle(bundle)
        encoding = encoding if dim is None else encoding.cut(dim)
        register = Register.create(out, encoding, levels_of(first))
    else:
        register = Register.open(out)
        encoding = cut_like(register, open_bundle(bundle) if bundle else register.bundle, dim)
    try:
        encoder = load_encoder(encoding, backend=chosen_backend(encoding, backend))
        result = register.add(
            Counted(itertools.chain(first, designs), total or 0),
            encoder,
            track=bar,
            source=source.resolve().name,
            jobs=jobs or available_cores(),
        )
        make_caches(register)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            kept = counted(register.designs_count, "design", is_are=True)
            say(f"stopped: {kept} kept; the same again adds the rest")
        if is_new:
            register.discard_if_empty()
        register.close()
        raise
    show_problems(result.notes, what="note")
    show_problems(result.problems, what="skipped")
    if is_new and register.designs_count == 0:
        register.discard_if_empty()
        register.close()
        problems = count(len(result.problems) + len(result.notes), "problem")
        raise SourceError(
            f"no design of {source} could be read ({problems}, above)",
            hint="check the files that are named, or choose the kind with --source",
        )
    summary = {
        "register": str(out),
        "designs": register.designs_count,
        "figures": register.figures_count,
        "designs_added": result.designs_added,
        "figures_added": result.figures_added,
        "designs_updated": result.designs_updated,
        "sheets_read": result.sheets_read,
        "sheets_copied": result.sheets_copied,
        "sheets_taken_back": result.sheets_taken_back,
        "front_pages": result.front_pages,
        "unchanged": result.unchanged,
        "notes": [{"where": n.where, "reason": n.reason} for n in result.notes],
        "problems": [{"where": p.where, "reason": p.reason} for p in result.problems],
    }
    if as_json:
        print_json(summary)
    else:
        updated = ""
        if result.designs_updated:
            updated = f" {count(result.designs_updated, 'design')} updated,"
        print(
            f"{out}: {count(result.designs_added, 'design')},"
            f" {count(result.figures_added, 'figure')} added from"
            f" {count(result.sheets_read, 'sheet')};{updated}"
            f" {count(result.front_pages, 'front page')} left out,"
            f" {count(result.unchanged, 'sheet')} there already"
        )
        if result.sheets_copied:
            hold = "sheet holds" if result.sheets_copied == 1 else "sheets hold"
            print(
                f"{result.sheets_copied} {hold} the same bytes as sheets of other designs:"
                " copied, not embedded again"
            )
        if result.sheets_taken_back:
            print(f"{count(result.sheets_taken_back, 'sheet')} taken back from removed designs")
        print(
            f"now {count(register.designs_count, 'design')},"
            f" {count(register.figures_count, 'figure')}"
        )
        say(f"next: edge-ret search drawing.png --register {out}")
    register.close()
    if result.problems:
        say(f"skipped: {count(len(result.problems), 'input')}")
        raise typer.Exit(EXIT_FIXABLE if strict else EXIT_SKIPPED)


def cut_like(register: Register, bundle: Bundle, dim: int | None) -> Bundle:
    """Return a bundle cut as was asked for, else as the register's is, if it can be."""
    if dim is not None:
        return bundle.cut(dim)
    own = register.bundle.dim
    return bundle.cut(own) if own in bundle.whole.prefixes else bundle.whole


def levels_of(items: Iterable[Design | Problem]) -> tuple[str, ...]:
    """Name the levels of a new register after the depth of the first designs with labels."""
    from edge_retrieval.sources import Design

    depths = (len(item.labels) for item in items if isinstance(item, Design) and item.labels)
    depth = next(depths, 2)
    return (*("class", "subclass", *(f"level {n}" for n in range(3, depth + 1)))[:depth], "design")
