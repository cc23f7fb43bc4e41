"""The command that watches: which new designs come close to one of a portfolio."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_retrieval.cli.limiting import FLAGS
from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    EXIT_SKIPPED,
    BackendOption,
    JsonFlag,
    StrictFlag,
    answer,
    bar,
    chosen_backend,
    count,
    one_line,
    print_json,
    print_table,
    say,
    show_problems,
)
from edge_retrieval.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from edge_retrieval.register import Register
    from edge_retrieval.sources import Problem
    from edge_retrieval.watch import Arrived

STRONGER = "1/2000"
"""What is told where nothing else is asked for."""


@dataclass(frozen=True)
class Counted:
    """New designs, and about how many they are; 0: unknown."""

    items: Iterable[Arrived | Problem]
    count: int

    def __iter__(self) -> Iterator[Arrived | Problem]:
        return iter(self.items)

    def __length_hint__(self) -> int:
        return self.count


LIMITED = {"watch": tuple(FLAGS)}


def watch(
    new: Annotated[
        Path,
        typer.Argument(
            help="The new designs: a week's grants, a folder, a table, or a register.",
            metavar="NEW",
        ),
    ],
    against: Annotated[
        Path, typer.Option("--against", help="The portfolio: a register of your own designs.")
    ],
    stronger: Annotated[
        str | None,
        typer.Option(
            "--stronger-than",
            help="Tell pairs as close as at most one in so many unrelated designs is."
            f" Default: {STRONGER}.",
        ),
    ] = None,
    score_above: Annotated[
        float | None,
        typer.Option("--score-above", help="Tell pairs of this score or more, instead: 0.7."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for watch.json and watch.html.")
    ] = Path("watch"),
    within: Annotated[
        list[str] | None,
        typer.Option(
            "--class", "-c", help="Only portfolio designs in this class: 06 or 06-01. Repeatable."
        ),
    ] = None,
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
    """Tell which new designs come close to one of a portfolio, each pair once.

    What was told is kept in the folder -o: the same again tells nothing new.
    Example: edge-ret watch week-48.tar --against my-portfolio -o my-watch
    """
    from edge_retrieval.evidence.watch_page import watch_html
    from edge_retrieval.filters import Filters
    from edge_retrieval.register import Register
    from edge_retrieval.sources.design import in_unicode
    from edge_retrieval.watch import (
        Threshold,
        parse_share,
        read_kept,
        report_of,
        require_writable,
        write_kept,
    )
    from edge_retrieval.watch import watch as compare

    if stronger is not None and score_above is not None:
        raise ConfigError(
            "--stronger-than and --score-above are two ways to say what is close",
            hint="leave one of them out",
        )
    threshold = (
        Threshold(share=parse_share(stronger or STRONGER))
        if score_above is None
        else Threshold(score=score_above)
    )
    filters = Filters(classes=within or ())
    with ExitStack() as opened:
        portfolio = opened.enter_context(Register.open(against))
        kept = read_kept(out, portfolio)
        require_writable(out)
        filters.choose(portfolio.columns, where=against)  # told before anything is computed
        arriving = _arriving(new, portfolio, backend, jobs, opened)
        found = compare(arriving, portfolio, threshold, filters=filters, known=kept.keys, track=bar)
        show_problems(found.notes, what="note")
        show_problems(found.problems, what="skipped")
        if not found.designs:
            raise SourceError(
                f"no design of {new} could be read", hint="check the files that are named above"
            )
        told, pictures = report_of(
            found,
            kept,
            portfolio=portfolio,
            source=in_unicode(new.resolve().name),
            threshold=threshold,
            filters=filters,
        )
        written = write_kept(out, told, pictures, after=kept, portfolio=portfolio, page=watch_html)
    for note in told["notes"]:
        say(one_line(f"note: {note}"))
    if as_json:
        print_json(written)
    else:
        print_pairs(told)
    say(f"page: {(out / 'watch.html').resolve()}")
    if found.problems:
        say(f"skipped: {count(len(found.problems), 'input')}")
        raise typer.Exit(EXIT_FIXABLE if strict else EXIT_SKIPPED)


def _arriving(
    new: Path,
    portfolio: Register,
    backend: str | None,
    jobs: int | None,
    opened: ExitStack,
) -> Counted:
    """Open what is new: nothing of a register is embedded, all of a source is."""
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.provenance import available_cores
    from edge_retrieval.register import Register, is_register
    from edge_retrieval.sources import expected_designs, open_source
    from edge_retrieval.watch import from_register, from_source

    if is_register(new):
        register = opened.enter_context(Register.open(new))
        return Counted(from_register(register, portfolio), register.designs_count)
    items = open_source(new)
    first = list(itertools.islice(items, 1))  # an unreadable source ends here
    encoder = load_encoder(portfolio.bundle, backend=chosen_backend(portfolio.bundle, backend))
    arriving = from_source(itertools.chain(first, items), encoder, jobs=jobs or available_cores())
    opened.enter_context(closing(arriving))  # leaves no process behind, whatever happens
    return Counted(arriving, expected_designs(new) or 0)


def print_pairs(told: dict[str, Any]) -> None:
    """Print the new pairs as a table, strongest first, and what was compared."""
    from edge_retrieval.evidence.watch_page import statement

    strengths = all(pair["strength"] for pair in told["new"])
    rows = []
    for pair in told["new"]:
        new, own = pair["new"], pair["own"]
        short = (pair["strength"] or "").replace("fewer than", "<")
        rows.append(
            (
                *([short] if strengths else []),
                f"{pair['score']:.3f}",
                new["design"],
                new["title"],
                ", ".join(new["applicants"]),
                own["design"],
                own["title"],
                f"{pair['matched']} of {pair['of']}",
            )
        )
    if rows:
        print_table(
            f"{told['source']}: new pairs",
            (
                *([("strength", "right")] if strengths else []),
                ("score", "right"),
                ("new design", "left"),
                ("title", "cut"),
                ("applicants", "cut"),
                ("close to", "left"),
                ("title", "cut"),
                ("views", "right"),
            ),
            rows,
        )
    line = statement(told)
    if earlier := told["counts"]["earlier"]:
        line += f"; {count(earlier, 'pair')} told before"
    indent = "  " if rows else ""
    answer(one_line(f"{indent}{line}"))
    if told["chance"]:
        answer(f"{indent}{told['chance']}")
