"""Commands that fill a register and search in it: index and search."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    EXIT_SKIPPED,
    BackendOption,
    BundleOption,
    JsonFlag,
    RegisterOption,
    StrictFlag,
    bar,
    chosen_backend,
    count,
    find_register,
    one_line,
    open_bundle,
    print_json,
    print_table,
    read_drawing,
    say,
    show_problems,
    write_text,
)
from edge_retrieval.errors import DrawingError, SourceError

if TYPE_CHECKING:
    from edge_retrieval.search import SearchResult
    from edge_retrieval.sources import Design, Problem

LOOK_AHEAD = 32
"""Designs that are read before a register is made: their labels tell how deep its taxonomy is."""


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
    backend: BackendOption = None,
    strict: StrictFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Read designs from SOURCE, embed their figures, keep them in a register.

    Indexing the same files again adds nothing. Example: edge-ret index grants/ -o my-register
    """
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.register import Register, is_register
    from edge_retrieval.sources import open_source

    designs = open_source(source, kind=kind)
    # An unreadable source ends here, before anything is made.
    first = list(itertools.islice(designs, LOOK_AHEAD))
    if not first:
        raise SourceError(f"{source} holds no designs", hint="see --source for the kinds it can be")
    is_new = not is_register(out)
    if is_new:
        register = Register.create(out, open_bundle(bundle), levels_of(first))
    else:
        register = Register.open(out)
    try:
        encoding = open_bundle(bundle) if bundle is not None else register.bundle
        encoder = load_encoder(encoding, backend=chosen_backend(encoding, backend))
        tracked = bar(itertools.chain(first, designs), "Indexing")
        result = register.add(tracked, encoder, source=source.resolve().name)
        register.build_graph()  # does nothing while exact search is fast enough
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            say(f"stopped: {register.designs_count} designs are kept; the same again adds the rest")
        if is_new:
            register.discard_if_empty()
        register.close()
        raise
    show_problems(result.notes, what="note")
    show_problems(result.problems, what="skipped")
    if is_new and register.designs_count == 0:
        register.discard_if_empty()
        register.close()
        raise SourceError(
            f"no design of {source} could be read ({len(result.problems)} problems, above)",
            hint="check the files that are named, or choose the kind with --source",
        )
    summary = {
        "register": str(out),
        "designs": register.designs_count,
        "figures": register.figures_count,
        "designs_added": result.designs_added,
        "figures_added": result.figures_added,
        "sheets_read": result.sheets_read,
        "front_pages": result.front_pages,
        "unchanged": result.unchanged,
        "notes": [{"where": n.where, "reason": n.reason} for n in result.notes],
        "problems": [{"where": p.where, "reason": p.reason} for p in result.problems],
    }
    if as_json:
        print_json(summary)
    else:
        print(
            f"{out}: {count(result.designs_added, 'design')},"
            f" {count(result.figures_added, 'figure')} added from"
            f" {count(result.sheets_read, 'sheet')};"
            f" {count(result.front_pages, 'front page')} left out,"
            f" {count(result.unchanged, 'sheet')} there already"
        )
        print(
            f"now {count(register.designs_count, 'design')},"
            f" {count(register.figures_count, 'figure')}"
        )
        say(f"next: edge-ret search drawing.png --register {out}")
    register.close()
    if result.problems:
        say(f"skipped: {count(len(result.problems), 'input')}")
        raise typer.Exit(EXIT_FIXABLE if strict else EXIT_SKIPPED)


def levels_of(items: Iterable[Design | Problem]) -> tuple[str, ...]:
    """Name the levels of a new register after the depth of the first designs with labels."""
    from edge_retrieval.sources import Design

    depths = (len(item.labels) for item in items if isinstance(item, Design) and item.labels)
    depth = next(depths, 2)
    return (*("class", "subclass", *(f"level {n}" for n in range(3, depth + 1)))[:depth], "design")


def search(
    drawings: Annotated[
        list[Path] | None,
        typer.Argument(help="Drawings to search with; the sample's own if none is named."),
    ] = None,
    register_path: RegisterOption = None,
    k: Annotated[int, typer.Option("-k", help="Designs to show.", min=1)] = 10,
    within: Annotated[
        list[str] | None,
        typer.Option("--class", "-c", help="Only this class or subclass: 06 or 06-01. Repeatable."),
    ] = None,
    exclude_self: Annotated[
        bool,
        typer.Option(
            "--exclude-self", help="Leave out the register's figures of the very same file."
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Leave out this design, by its number. Repeatable."),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take each drawing as one figure: do not cut it.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page to look at and keep.")
    ] = None,
    backend: BackendOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Rank the designs of a register by how much they look like each drawing.

    Example: edge-ret search drawing.png --register my-register --class 06-01 --html hits.html
    """
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.search import query_from_bytes
    from edge_retrieval.search import search as run_search

    if not drawings:
        from edge_retrieval.sample import sample_query

        drawings = [sample_query()]
        say("drawing: the sample's own (none was named)")
    queries, unread = [], []
    for path in drawings:
        try:
            queries.append(query_from_bytes(read_drawing(path), str(path), cut=not whole))
        except DrawingError as error:
            unread.append(error)
    if not queries:
        raise unread[0]
    for reason in unread:
        say(one_line(f"skipped: {reason}"))
    register = find_register(register_path)
    encoder = load_encoder(register.bundle, backend=chosen_backend(register.bundle, backend))
    results = run_search(
        register,
        queries,
        encoder,
        k=k,
        within=within or (),
        exclude_self=exclude_self,
        exclude_designs=exclude or (),
    )
    if html is not None:
        from edge_retrieval.evidence import to_html

        settings = {"k": k, "class": ", ".join(within or []) or "all", "exclude self": exclude_self}
        if exclude:
            settings["exclude"] = ", ".join(exclude)
        write_text(html, to_html(results, register=register, settings=settings))
    if as_json:
        from edge_retrieval.evidence import to_json

        print_json(to_json(results, register=register))
    else:
        for result in results:
            print_hits(result)
    if html is not None:
        say(f"page: {html.resolve()}")
    register.close()
    if unread:
        say(f"skipped: {count(len(unread), 'drawing')} of {len(drawings)}")
        raise typer.Exit(EXIT_SKIPPED)


def print_hits(result: SearchResult) -> None:
    """Print one query's ranked designs as a table."""
    from edge_retrieval.evidence import class_of

    rows = []
    for hit in result.hits:
        rows.append(
            (
                str(hit.rank),
                f"{hit.score:.3f}",
                hit.design.number,
                class_of(hit.design),
                hit.design.title,
                f"{hit.query_figure + 1} ~ {hit.figure.name.removeprefix('figure ')}",
            )
        )
    print_table(
        Path(result.query.name).name,
        (
            ("rank", "right"),
            ("score", "right"),
            ("design", "left"),
            ("class", "cut"),
            ("title", "cut"),
            ("best pair", "left"),
        ),
        rows,
    )
    print(f"  {result.statement}")
