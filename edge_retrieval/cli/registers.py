"""The command that fills a register."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.limiting import FLAGS
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
    print_json,
    say,
    show_problems,
)

LIMITED = {"index": tuple(FLAGS)}


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
    from edge_retrieval.cli.caching import say_slower
    from edge_retrieval.indexing import NothingReadError
    from edge_retrieval.indexing import index as run_index
    from edge_retrieval.register import Register, is_register
    from edge_retrieval.sources.design import counted

    try:
        result = run_index(
            source,
            out,
            bundle=bundle,
            kind=kind,
            dim=dim,
            jobs=jobs,
            track=bar,
            choose_backend=lambda encoding: chosen_backend(encoding, backend),
            slower=say_slower,
        )
    except NothingReadError as error:
        show_problems(error.result.notes, what="note")
        show_problems(error.result.problems, what="skipped")
        raise
    except KeyboardInterrupt:
        if is_register(out):
            with Register.open(out) as register:
                kept = counted(register.designs_count, "design", is_are=True)
            say(f"stopped: {kept} kept; the same again adds the rest")
        raise
    show_problems(result.notes, what="note")
    show_problems(result.problems, what="skipped")
    register = Register.open(out)
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
