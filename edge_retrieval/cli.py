"""`edge-ret`: parse, call, print. The only module with typer, rich and exit codes.

stdout is the result; talk, bars and warnings go to stderr. Exit codes: 0 good, 1 something the user
can fix, 2 wrong usage, 3 done but some inputs were skipped (`--strict` turns that into 1).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edge_retrieval import __version__
from edge_retrieval.errors import (
    BundleError,
    ConfigError,
    DrawingError,
    EdgeRetrievalError,
    RegisterError,
    SourceError,
)

# Everything heavier is imported inside the command that needs it: `edge-ret --help` and a search
# must not pay for the trainer, the tables or the bars.
if TYPE_CHECKING:
    from edge_retrieval.bundle import Bundle
    from edge_retrieval.register import Register
    from edge_retrieval.search import SearchResult
    from edge_retrieval.sources import Design, Problem

T = TypeVar("T")

SKIPPED_SHOWN = 20
"""Problems printed by name; the rest are counted. All of them are kept in the register."""

LOOK_AHEAD = 32
"""Designs that are read before a register is made: their labels tell how deep its taxonomy is."""

EXIT_FIXABLE, EXIT_SKIPPED = 1, 3

app = typer.Typer(
    name="edge-ret",
    help="Find the registered designs that look like a drawing: offline, on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Make drawings.", no_args_is_help=True, rich_markup_mode=None)
register_app = typer.Typer(
    help="Look after a register.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")
app.add_typer(register_app, name="register")


# ------------------------------------------------------------------------------------------------
# Talking


def say(text: str) -> None:
    """Write one line to stderr: talk, not a result."""
    print(text, file=sys.stderr)


def bar(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Draw a progress bar on stderr where it is a terminal; else pass the items through."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=description)


def show_problems(problems: Sequence[Problem], *, what: str) -> None:
    """Write what was skipped to stderr, the first ones by name."""
    for problem in problems[:SKIPPED_SHOWN]:
        say(f"{what}: {problem.where}: {problem.reason}")
    if len(problems) > SKIPPED_SHOWN:
        say(f"... and {len(problems) - SKIPPED_SHOWN} more like these")


def print_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(
    title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]
) -> None:
    """Draw a table on stdout.

    Args:
        title: Stands above.
        columns: (heading, "left" | "right") of each.
        rows: Cells as text; shown as they are, no markup.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe has no width: give the table room, so that nothing is cut that a script looks for.
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for heading, side in columns:
        justify = "right" if side == "right" else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def write_text(path: Path, text: str) -> None:
    """Write a file that the user named, whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True) if unfinished.exists() else None
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", hint="choose a folder you may write to"
        ) from error


def read_drawing(path: Path) -> bytes:
    """Read a drawing that the user named."""
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        raise DrawingError(
            f"{path} is a folder, not a drawing", hint="name the image files: folder/*.png"
        ) from error
    except OSError as error:
        raise DrawingError(
            f"{path} cannot be read: {error.strerror}", hint="check the path of the drawing"
        ) from error


# ------------------------------------------------------------------------------------------------
# Finding the register and the bundle


def open_bundle(folder: Path | None) -> Bundle:
    """Open the bundle that was named, else the default one."""
    from edge_retrieval.bundle import Bundle, default_bundle_path

    return Bundle.open(folder if folder is not None else default_bundle_path())


def find_register(named: Path | None) -> Register:
    """Open the register that was named, else `$EDGE_RET_REGISTER`, `./register`, the sample."""
    from edge_retrieval.register import Register

    if named is not None:
        return Register.open(named)
    if environment := os.environ.get("EDGE_RET_REGISTER"):
        say(f"register: {environment} ($EDGE_RET_REGISTER)")
        return Register.open(Path(environment))
    if (local := Path("register")).is_dir():
        say("register: ./register")
        return Register.open(local)
    from edge_retrieval.sample import sample_register

    register = sample_register(open_bundle(None), track=bar)
    say(
        f"register: the sample, {register.designs_count} made designs (no register of your own was"
        " named)\n          index your own: edge-ret index FOLDER -o register"
    )
    return register


RegisterOption = Annotated[
    Path | None,
    typer.Option(
        "--register",
        "-r",
        help="Register to use. Default: $EDGE_RET_REGISTER, ./register, then the sample.",
    ),
]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Encoder bundle. Default: the one that ships.")
]
BackendOption = Annotated[str, typer.Option("--backend", help="onnx or openvino.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StrictFlag = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 if anything had to be skipped.")
]


# ------------------------------------------------------------------------------------------------
# Commands


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"edge-ret {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find the registered designs that look like a drawing: offline, on this machine."""


@app.command()
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
    backend: BackendOption = "onnx",
    strict: StrictFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Read designs from SOURCE, embed their figures, keep them in a register.

    Indexing the same files again adds nothing. Example: edge-ret index grants/ -o my-register
    """
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.register import Register
    from edge_retrieval.sources import open_source

    designs = open_source(source, kind=kind)
    # An unreadable source ends here, before anything is made.
    first = list(itertools.islice(designs, LOOK_AHEAD))
    if not first:
        raise SourceError(f"{source} holds no designs", hint="see --source for the kinds it can be")
    is_new = not out.exists()
    if is_new:
        register = Register.create(out, open_bundle(bundle), levels_of(first))
    else:
        register = Register.open(out)
    encoder = load_encoder(
        open_bundle(bundle) if bundle is not None else register.bundle, backend=backend
    )
    try:
        result = register.add(bar(itertools.chain(first, designs), "Indexing"), encoder)
        register.build_graph()  # does nothing while exact search is fast enough
    except BaseException:
        register.close()
        if is_new and register.designs_count == 0:
            shutil.rmtree(out, ignore_errors=True)
        raise
    show_problems(result.notes, what="note")
    show_problems(result.problems, what="skipped")
    if is_new and register.designs_count == 0:
        register.close()
        shutil.rmtree(out, ignore_errors=True)
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
            f"{out}: {result.designs_added} designs, {result.figures_added} figures added from"
            f" {result.sheets_read} sheets; {result.front_pages} front pages left out,"
            f" {result.unchanged} sheets unchanged"
        )
        print(f"now {register.designs_count} designs, {register.figures_count} figures")
        say(f"next: edge-ret search drawing.png --register {out}")
    register.close()
    if result.problems:
        say(f"{len(result.problems)} inputs were skipped")
        raise typer.Exit(EXIT_FIXABLE if strict else EXIT_SKIPPED)


def levels_of(items: Iterable[Design | Problem]) -> tuple[str, ...]:
    """Name the levels of a new register after the depth of the first designs with labels."""
    from edge_retrieval.sources import Design

    depths = (len(item.labels) for item in items if isinstance(item, Design) and item.labels)
    depth = next(depths, 2)
    return (*("class", "subclass", *(f"level {n}" for n in range(3, depth + 1)))[:depth], "design")


@app.command()
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
    whole: Annotated[
        bool, typer.Option("--whole", help="Take each drawing as one figure: do not cut it.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page to look at and keep.")
    ] = None,
    backend: BackendOption = "onnx",
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
    queries = [query_from_bytes(read_drawing(path), str(path), cut=not whole) for path in drawings]
    register = find_register(register_path)
    encoder = load_encoder(register.bundle, backend=backend)
    results = run_search(
        register, queries, encoder, k=k, within=within or (), exclude_self=exclude_self
    )
    if html is not None:
        from edge_retrieval.evidence import to_html

        settings = {"k": k, "class": ", ".join(within or []) or "all", "exclude self": exclude_self}
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


def print_hits(result: SearchResult) -> None:
    """Print one query's ranked designs as a table."""
    from edge_retrieval.taxonomy import locarno_title

    rows = []
    for hit in result.hits:
        code = hit.design.locarno or "/".join(hit.design.labels[-1:])
        heading = locarno_title(code) or ""
        rows.append(
            (
                str(hit.rank),
                f"{hit.score:.3f}",
                hit.design.number,
                f"{code}  {shorten(heading, 44)}".strip(),
                shorten(hit.design.title, 36),
                f"figure {hit.query_figure + 1} ~ {hit.figure.name}",
            )
        )
    print_table(
        Path(result.query.name).name,
        (
            ("rank", "right"),
            ("score", "right"),
            ("design", "left"),
            ("class", "left"),
            ("title", "left"),
            ("best pair: yours ~ theirs", "left"),
        ),
        rows,
    )
    print(f"  {result.statement}")


def shorten(text: str, width: int) -> str:
    """Cut a long heading at a word, with an ellipsis."""
    if len(text) <= width:
        return text
    return text[: width - 1].rsplit(" ", 1)[0].rstrip(",;") + "…"


@app.command("eval")
def evaluate(
    register_path: Annotated[Path, typer.Argument(metavar="REGISTER", help="Register to measure.")],
    as_json: JsonFlag = False,
) -> None:
    """Measure retrieval on a register: every figure searches among all the others.

    Needs designs with several figures and labels above them.
    """
    from dataclasses import asdict

    from edge_retrieval.metrics import by_design, leave_one_out
    from edge_retrieval.register import Register
    from edge_retrieval.taxonomy import Taxonomy

    register = Register.open(register_path)
    paths = register.label_paths()
    levels = register.levels
    codes = Taxonomy.of(paths, levels).encode(paths)  # (N, L)
    tables = {
        "figures": leave_one_out(register.vectors, codes, levels),
        "designs": by_design(register.vectors, codes, levels),
    }
    if as_json:
        print_json(
            {
                "register": str(register_path),
                "bundle": register.bundle.name,
                "fingerprint": register.bundle.fingerprint,
                **{name: [asdict(scores) for scores in table] for name, table in tables.items()},
            }
        )
        return
    titles = {
        "figures": "Ranked figures: each figure is left out in turn and searches all the others",
        "designs": "Ranked designs: each figure searches the designs, its own figure left out",
    }
    for name, table in tables.items():
        measures = list(dict.fromkeys(key for scores in table for key in scores.values))
        print_table(
            titles[name],
            [("level", "left"), ("relevance", "left"), ("gallery", "right"), ("queries", "right")]
            + [(measure, "right") for measure in measures],
            [
                (
                    scores.level,
                    scores.relevance,
                    str(scores.gallery),
                    str(scores.queries),
                    *(
                        f"{scores.values[measure]:.3f}" if measure in scores.values else ""
                        for measure in measures
                    ),
                )
                for scores in table
            ],
        )
    say(
        "inclusive: figures that agree deeper count too; exclusive: they are taken out of the"
        " ranking first"
    )
    register.close()


@app.command()
def bench(
    drawings: Annotated[
        list[Path] | None, typer.Argument(help="Drawings to search with. Default: the sample's.")
    ] = None,
    register_path: RegisterOption = None,
    runs: Annotated[int, typer.Option("--runs", help="Searches to count.", min=1)] = 50,
    threads: Annotated[int, typer.Option("--threads", help="Threads of the encoder.", min=1)] = 1,
    backend: BackendOption = "onnx",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the raw samples go, as JSON.")
    ] = Path("bench.json"),
    as_json: JsonFlag = False,
) -> None:
    """Measure what a search costs on this very device, stage by stage."""
    from edge_retrieval.bench import bench as measure
    from edge_retrieval.report import human_bytes, human_seconds
    from edge_retrieval.sample import sample_folder

    sheets = drawings or sorted((sample_folder() / "sheets").glob("*.png"))[:20]
    for sheet in sheets:
        read_drawing(sheet)
    register = find_register(register_path)
    report = measure(register, sheets, runs=runs, backend=backend, threads=threads, track=bar)
    write_text(out, json.dumps(report.to_json(), indent=1, allow_nan=False))
    if as_json:
        print_json(report.to_json())
    else:
        human = {"s": human_seconds, "B": human_bytes}
        print_table(
            f"{register.bundle.name} on {report.host['cpu']}, {backend}, {threads} thread(s),"
            f" {register.figures_count} figures",
            [("", "left")] + [(name, "right") for name in ("p50", "p90", "p99", "n")],
            [
                (
                    m.name,
                    *(human[m.unit](value) for value in (m.p50, m.p90, m.p99)),
                    str(m.n),
                )
                for m in report.measurements
            ],
        )
    say(f"raw samples: {out}")
    register.close()


@app.command()
def train(
    data: Annotated[
        list[Path], typer.Option("--data", help="A source of labelled designs. Repeatable.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder. Default: runs/ and a number.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="Settings as TOML.", exists=False)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One setting: name=value. Repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
) -> None:
    """Train an encoder with the hierarchical multi-positive contrastive loss.

    Example: edge-ret train --data made/ --set steps=2000 -o runs/first
    """
    import distill

    distill.require("train")
    from distill.config import TrainConfig
    from distill.train import train as run_training

    config = TrainConfig.load(config_file) if config_file is not None else TrainConfig()
    config = config.with_settings(settings or ())
    folder = out or next_run_folder(Path("runs"))
    result = run_training(config, data, folder, resume=resume, track=bar)
    show_problems(result.problems, what="skipped")
    print(f"{folder}: best patent mAP {result.best_map:.3f} on held-out designs")
    say(f"next: edge-ret export {folder} --int8")


def next_run_folder(runs: Path) -> Path:
    """Return runs/1, runs/2, ...: the first that does not exist."""
    number = next(n for n in itertools.count(1) if not (runs / str(n)).exists())
    return runs / str(number)


def latest_run(runs: Path) -> Path:
    """Return the run folder that was written last."""
    found = [folder for folder in runs.glob("*") if (folder / "config.toml").is_file()]
    if not found:
        raise ConfigError(
            f"there is no run in {runs}/", hint="train first: edge-ret train --data FOLDER"
        )
    return max(found, key=lambda folder: (folder / "config.toml").stat().st_mtime)


@app.command()
def export(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the latest.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize to INT8 as well.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the bundles go.")] = Path(
        "bundles"
    ),
    name: Annotated[str | None, typer.Option("--name", help="Default: the run's name.")] = None,
) -> None:
    """Turn a run into bundles: ONNX, and INT8 ONNX with its agreement with FP32."""
    import distill

    distill.require("export")
    from distill.export import export_run

    folder = run if run is not None else latest_run(Path("runs"))
    say(f"run: {folder}")
    result = export_run(folder, out, int8=int8, name=name or folder.name, track=bar)
    rows = [
        (bundle.name, bundle.precision, f"{bundle.files['model.onnx'].bytes / 1e6:.2f} MB")
        for bundle in result.bundles
    ]
    print_table("Bundles", (("name", "left"), ("precision", "left"), ("size", "right")), rows)
    print(f"largest difference from torch: {result.parity:.1e}")
    if result.agreement is not None:
        print(
            f"INT8 against FP32 on {result.agreement.figures} drawings: mean cosine"
            f" {result.agreement.mean_cosine:.4f}, worst 1 % {result.agreement.p1_cosine:.4f},"
            f" overlap@10 {result.agreement.overlap:.3f}"
        )
    say(f"next: edge-ret index SOURCE --bundle {result.bundles[-1].folder} -o register")


@app.command()
def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle to check. Default: the one that ships.")
    ] = None,
    backend: BackendOption = "onnx",
) -> None:
    """Check that this very device computes what a bundle's maker computed.

    The bundle's golden drawings are embedded here and held against the vectors it carries: a wrong
    runtime, a saturating processor or a damaged file shows at once.
    """
    from edge_retrieval.encoder import golden_check, load_encoder

    opened = open_bundle(bundle)
    least = golden_check(opened, load_encoder(opened, backend=backend))
    verdict = f"{opened.name}: least cosine to the golden vectors {least:.4f}"
    if least < opened.golden_tolerance:
        raise BundleError(
            f"{verdict}, below {opened.golden_tolerance:.4f}: do not trust it on this device",
            hint="try --backend openvino, or the FP32 bundle",
        )
    print(f"{verdict}, at least {opened.golden_tolerance:.4f} is asked: good")


@data_app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    designs: Annotated[int, typer.Option("--designs", help="How many.", min=1)] = 260,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same drawings.")] = 0,
    views: Annotated[int, typer.Option("--views", help="Figures a design.", min=1, max=8)] = 6,
    size: Annotated[int, typer.Option("--size", help="Pixels a side.", min=64, max=2048)] = 512,
    sheets: Annotated[
        bool, typer.Option("--sheets", help="Pages with captions, as an office publishes them.")
    ] = False,
    restyled: Annotated[
        float,
        typer.Option(
            "--restyled", help="Share of designs whose figures are by several hands.", min=0, max=1
        ),
    ] = 0.0,
    workers: Annotated[int, typer.Option("--workers", help="Processes.", min=1)] = 1,
) -> None:
    """Make design drawings with the true hierarchy: class > subclass > design > view."""
    import distill

    distill.require("train")
    from distill.synthetic import generate

    if sheets and restyled:
        raise ConfigError("--restyled has no meaning with --sheets", hint="leave one of them out")
    made = generate(
        out,
        designs=designs,
        seed=seed,
        views=views,
        size=size,
        sheets=sheets,
        restyled=restyled,
        workers=workers,
        track=bar,
    )
    print(f"{out}: {made.designs} designs, {made.figures} figures in {made.files} files")
    say(f"next: edge-ret index {out} -o register")


@register_app.command()
def verify(register_path: Annotated[Path, typer.Argument(metavar="REGISTER")]) -> None:
    """Check every byte of a register against what was recorded."""
    from edge_retrieval.register import Register

    register = Register.open(register_path)
    faults = register.verify()
    register.close()
    if faults:
        for fault in faults:
            say(fault)
        raise RegisterError(
            f"{register_path}: {len(faults)} faults", hint="copy it again, or index the source anew"
        )
    print(f"{register_path}: good, {register.designs_count} designs")


@register_app.command()
def info(
    register_path: Annotated[Path, typer.Argument(metavar="REGISTER")], as_json: JsonFlag = False
) -> None:
    """Show what a register holds and which encoder made it."""
    from edge_retrieval.register import Register

    register = Register.open(register_path)
    facts = {
        "register": str(register_path),
        "designs": register.designs_count,
        "figures": register.figures_count,
        "levels": list(register.levels),
        "bundle": register.bundle.name,
        "precision": register.bundle.precision,
        "fingerprint": register.bundle.fingerprint,
    }
    register.close()
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name:12} {', '.join(value) if isinstance(value, list) else value}")


def main() -> None:
    """Run the command line; print a user's error as one line and a hint."""
    try:
        app()
    except EdgeRetrievalError as error:
        # Not through rich: it wraps long paths and eats [...].
        say(f"error: {error}")
        say(f"hint: {error.hint}")
        raise SystemExit(EXIT_FIXABLE) from None


if __name__ == "__main__":
    main()
