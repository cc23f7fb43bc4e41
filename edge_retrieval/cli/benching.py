"""The commands that measure this device: bench, and bench compare."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    EXIT_SKIPPED,
    STDIN,
    BackendOption,
    JsonFlag,
    RegisterOption,
    answer,
    bar,
    chosen_backend,
    count,
    find_register,
    one_line,
    print_json,
    print_table,
    read_drawing,
    refuse_another_kind,
    say,
    write_text,
)
from edge_retrieval.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from edge_retrieval.bench.comparing import Change
    from edge_retrieval.bench.tables import Table
    from edge_retrieval.register import Register
    from edge_retrieval.report import Report

MOST_THREADS = 256
"""More than any device of ours has; thousands by a slip would bring it to a halt."""

DRAWINGS = 20
"""Of the sample, where none is named."""

FloorOption = Annotated[
    str | None,
    typer.Option(
        "--floor",
        help="End with 1 unless these hold: recall=0.9,p90_ms=20. Names: mAP, hit_rate@1,"
        " hit_rate@5, recall, p50_ms, p90_ms, p99_ms, cold_start_ms, peak_mb, throughput, joules.",
    ),
]


def bench(
    drawings: Annotated[
        list[Path] | None, typer.Argument(help="Drawings to search with. Default: the sample's.")
    ] = None,
    register_path: RegisterOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first impression, in about 20 seconds.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="Only this part: cold_start, latency, throughput, memory, search_cost, quality,"
            " energy, sustained. Repeatable.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Labelled designs to measure quality on, as eval does."),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option("--also", help="A further bundle to measure, in turn. Repeatable."),
    ] = None,
    sustained: Annotated[
        str | None,
        typer.Option("--sustained", help="Search so long without a pause, and watch heat: 5m."),
    ] = None,
    large: Annotated[
        bool, typer.Option("--large", help="Also search among a million made vectors.")
    ] = False,
    graph: Annotated[
        bool, typer.Option("--graph", help="Also build and measure the graph: minutes.")
    ] = False,
    runs: Annotated[
        int | None,
        typer.Option("--runs", help="Searches to count; else as many as time allows.", min=1),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", help="Threads of the encoder.", min=1, max=MOST_THREADS)
    ] = 1,
    backend: BackendOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the raw samples go, as JSON.")
    ] = Path("bench.json"),
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Also write the tables as Markdown.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page with plots.")
    ] = None,
    floor: FloorOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure what a search costs on this very device, and how good it is.

    Cold start, latency by stage, throughput, memory, growth; with --data quality, with --sustained
    heat. Without options it ends within three minutes. Reports are compared by bench compare.
    Examples: edge-ret bench --register my-register; edge-ret bench compare old.json new.json
    """
    from edge_retrieval.bench import BenchSettings
    from edge_retrieval.bench import bench as measure
    from edge_retrieval.bench.floors import floors_of
    from edge_retrieval.bench.settings import seconds_of
    from edge_retrieval.bench.tables import to_markdown
    from edge_retrieval.provenance import available_cores

    floors = floors_of(floor) if floor is not None else {}
    growth = large or graph
    settings = BenchSettings(
        parts=parts_of(only, quality=data is not None, sustained=bool(sustained), growth=growth),
        quick=quick,
        runs=runs,
        threads=threads,
        also=tuple(also or ()),
        data=data,
        sustained=seconds_of(sustained) if sustained else 0.0,
        large=large,
        graph=graph,
    )
    if threads > available_cores():
        raise ConfigError(
            f"{threads} threads, but this process may use {count(available_cores(), 'core')}",
            hint="give as many, or fewer",
        )
    require_files(out, markdown, html)
    sheets = drawings or sample_sheets()
    for sheet in sheets:
        if sheet == STDIN:
            raise ConfigError(
                "a bench reads each drawing from the disk again and again, not from standard input",
                hint="save it as a file first",
            )
        read_drawing(sheet)
    register = find_register(register_path)
    settings = settings.on(chosen_backend(register.bundle, backend, threads))
    report = measure(register, sheets, settings, sample=is_sample(register), track=bar)
    print_report(report, as_json=as_json)  # first: then nothing that is wrong with a file loses it
    write_text(out, text_of(report))
    if markdown is not None:
        write_text(markdown, to_markdown(report))
    if html is not None:
        write_text(html, page_of(report))
    say(f"raw samples: {out}")
    for file, what in ((markdown, "tables"), (html, "page")):
        if file is not None:
            say(f"{what}: {file}")
    register.close()
    hold(report, floors)
    if report.settings.get("failed"):
        raise typer.Exit(EXIT_FIXABLE)
    if report.settings.get("skipped"):
        raise typer.Exit(EXIT_SKIPPED)


def compare(
    reports: Annotated[
        list[Path], typer.Argument(metavar="A.json B.json", help="Reports of edge-ret bench.")
    ],
    across: Annotated[
        bool,
        typer.Option("--across", help="Reports of different machines: show them side by side."),
    ] = False,
    floor: FloorOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare reports: B over A, medians, with the interval that chance alone explains.

    Floors are held against the last report. Example: edge-ret bench compare old.json new.json
    """
    from edge_retrieval.bench.comparing import compare as changes_of
    from edge_retrieval.bench.comparing import unlike
    from edge_retrieval.bench.floors import floors_of
    from edge_retrieval.bench.tables import device_table
    from edge_retrieval.report import Report

    floors = floors_of(floor) if floor is not None else {}
    if len(reports) < 2 or (len(reports) > 2 and not across):
        raise typer.BadParameter("name two reports; with --across two or more")
    found = [Report.load(path) for path in reports]
    if across:
        if as_json:
            print_json([headlines_of(report) for report in found])
        else:
            show(device_table(found))
    else:
        changes = changes_of(found[0], found[1])
        if as_json:
            print_json([{**asdict(one), "ratio": finite(one.ratio)} for one in changes])
        else:
            print_changes(changes)
        for difference in unlike(found[0], found[1]):
            say(one_line(f"note: the runs were not alike: {difference}"))
    for path, report in zip(reports, found, strict=True):
        for note in report.notes:
            say(one_line(f"note: {path.name}: {note}"))
    hold(found[-1], floors)


class BenchCommand(TyperCommand):
    """`edge-ret bench ...`, and `edge-ret bench compare ...` where that is the first word."""

    @property
    def also(self) -> dict[str, Any]:
        """Commands that stand behind this one's name."""
        from edge_retrieval.cli.commands import words_of

        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command("compare", **words_of(compare.__doc__ or ""))(compare)
        return {"compare": typer.main.get_command(app)}

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Parse the words for whoever they are meant for."""
        if args and (behind := self.also.get(args[0])) is not None:
            return behind.make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


CLASSES = {"bench": BenchCommand}
"""Commands of this module that are of a class of their own."""


def parts_of(
    only: list[str] | None, *, quality: bool, sustained: bool, growth: bool
) -> tuple[str, ...]:
    """Return the parts that were asked for, be it by an option that only they need."""
    from edge_retrieval.bench import PARTS

    if not only:
        return PARTS
    if "quality" in only and not quality:
        raise typer.BadParameter("--only quality needs labelled designs: --data SOURCE")
    if "sustained" in only and not sustained:
        raise typer.BadParameter("--only sustained needs a time: --sustained 5m")
    more = {"quality": quality, "sustained": sustained, "search_cost": growth}
    return (*only, *(part for part, asked in more.items() if asked))


def require_files(out: Path, markdown: Path | None, html: Path | None) -> None:
    """Refuse what cannot be written before minutes are spent on measuring."""
    wanted = ((out, '{\n "title'), (markdown, "# edge-r"), (html, "<!"))
    named = [path.absolute() for path, _ in wanted if path is not None]
    if len(set(named)) < len(named):
        raise ConfigError("two outputs have one name", hint="give each a file of its own")
    for path, begins in wanted:
        if path is not None:
            refuse_another_kind(path, begins)
            if path.is_dir():
                raise ConfigError(
                    f"{path} cannot be written: it is a folder", hint="choose another file"
                )
            if not path.parent.is_dir():
                raise ConfigError(
                    f"{path} cannot be written: there is no such folder",
                    hint=f"make the folder {path.parent} first",
                )
            try:
                with NamedTemporaryFile(dir=path.parent, prefix=".edge-ret-"):
                    pass
            except OSError as error:
                raise ConfigError(
                    f"{path} cannot be written: {error.strerror}", hint="choose another folder"
                ) from error
    if html is not None:
        page_module().require()


def sample_sheets() -> list[Path]:
    """Return the drawings that are searched with where none is named."""
    from edge_retrieval.sample import sample_folder

    return sorted((sample_folder() / "sheets").glob("*.png"))[:DRAWINGS]


def is_sample(register: Register) -> bool:
    """Say whether a register is the sample that ships."""
    from edge_retrieval.cache import cache_folder

    return register.folder.parent == cache_folder() and register.folder.name.startswith("sample-")


def text_of(report: Report) -> str:
    """Return a report as it is written to disk."""
    return json.dumps(report.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def page_module() -> Any:
    """Load what makes the page."""
    try:
        return import_module("edge_retrieval.bench_page")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "edge_retrieval":
            raise
        raise MissingExtraError.of("a page with plots", "report") from error


def page_of(report: Report) -> str:
    """Return the report as one page."""
    module = page_module()
    try:
        page: str = module.page(report)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("a page with plots", "report") from error
    return page


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a report on stdout."""
    from edge_retrieval.bench.tables import about, tables

    if as_json:
        print_json(report.to_json())
        return
    answer(one_line(about(report)))
    for table in tables(report):
        show(table)
    for note in report.notes:
        answer(one_line(f"note: {note}"))


def headlines_of(report: Report) -> dict[str, Any]:
    """Return a device and its headlines, in SI units."""
    from edge_retrieval.bench.headline import HEADLINES, device_name

    return {
        "device": device_name(report),
        "host": report.host,
        "created": report.created,
        "headlines": {
            line.told: {"unit": line.unit, "value": line.value(report)} for line in HEADLINES
        },
    }


def show(table: Table) -> None:
    """Print a table."""
    print_table(table.title, table.columns, table.rows)


def print_changes(changes: list[Change]) -> None:
    """Print medians side by side, and their ratio with its interval."""
    from edge_retrieval.report import human

    rows = []
    for one in changes:
        labels = ", ".join(str(value) for value in one.labels.values())
        interval = "" if one.interval is None else f"{one.interval[0]:.2f} to {one.interval[1]:.2f}"
        rows.append(
            (
                one.name, labels, human(one.before, one.unit), human(one.after, one.unit),
                f"{one.ratio:.2f}", interval, "*" if one.clear else "",
            )
        )  # fmt: skip
    heads = ("before", "after", "ratio", "95 %")
    print_table(
        "Medians, the second report over the first (* the interval leaves 1 out)",
        [("", "left"), ("", "cut"), *((head, "right") for head in heads), ("", "left")],
        rows,
    )
    clear = sum(one.clear for one in changes)
    say(f"{count(clear, 'change')} of {len(changes)} beyond what chance within a run explains")


def finite(number: float) -> float | None:
    """Return a number that JSON has; None for infinity."""
    return None if number == float("inf") else number


def hold(report: Report, floors: dict[str, float]) -> None:
    """Say which floors a report does not hold, and end with 1 if there is one."""
    from edge_retrieval.bench.floors import misses

    missed = misses(report, floors)
    for miss in missed:
        say(one_line(f"error: {miss.text}"))
        say(one_line(f"hint: {miss.hint}"))
    if missed:
        raise typer.Exit(EXIT_FIXABLE)
