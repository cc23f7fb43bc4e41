"""The command that fills a register."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from edge_retrieval.errors import ConfigError

if TYPE_CHECKING:
    from edge_retrieval.scale import Spreading

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
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="Let workers cut and embed: processes (of this machine), or dask (of a cluster).",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            help="Of the Dask cluster: tcp://10.0.0.1:8786. Default: one of this machine alone.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Workers of this machine; as many as cores if not given."
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            help="Folder that all workers see, for what is on its way; what is stopped midway is"
            " taken up from it. Default: REGISTER.work",
        ),
    ] = None,
    shard: Annotated[
        int | None,
        typer.Option("--shard", min=1, help="Designs that a worker is given at once. Default: 200"),
    ] = None,
) -> None:
    """Read designs from SOURCE, embed their figures, keep them in a register.

    Indexing the same files again adds nothing; with workers the register is the same as without.
    Examples: edge-ret index grants/ -o my-register; edge-ret index grants/ --engine processes
    """
    from edge_retrieval.cli.caching import say_slower
    from edge_retrieval.indexing import NothingReadError
    from edge_retrieval.indexing import index as run_index
    from edge_retrieval.register import Register, is_register
    from edge_retrieval.sources.design import counted

    spread = _spreading(out, engine, scheduler, workers, work, shard, jobs)
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
            spread=spread,
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
        else:
            say("stopped: nothing is in the register yet; the same again goes on")
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


def _spreading(
    out: Path,
    engine: str | None,
    scheduler: str | None,
    workers: int | None,
    work: Path | None,
    shard: int | None,
    jobs: int | None,
) -> Spreading | None:
    """Return what gives the work to workers; None where none were asked for."""
    if engine is None:
        given = {"scheduler": scheduler, "workers": workers, "work": work, "shard": shard}
        named = [f"--{name}" for name, value in given.items() if value is not None]
        if named:
            raise ConfigError(
                f"{named[0]} says how workers work, and none were asked for",
                hint="ask for them: --engine processes, or --engine dask",
            )
        return None
    if jobs is not None:
        raise ConfigError(
            "--jobs says how many processes cut for one that embeds; workers do both",
            hint="say how many workers: --workers",
        )
    from edge_retrieval.scale import SHARD, Spreading

    # Beside the register, on the same disk, under a name that tells what it belongs to.
    beside = Path(f"{out.resolve()}.work")
    return Spreading(
        engine, work or beside, scheduler=scheduler, workers=workers, shard=shard or SHARD
    )
