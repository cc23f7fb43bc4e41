"""How the command line talks: results on stdout, talk and bars on stderr, files named by users."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import operator
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, TypeVar

import typer

from edge_retrieval.errors import ConfigError, DrawingError

if TYPE_CHECKING:
    from edge_retrieval.bundle import Bundle
    from edge_retrieval.register import Register
    from edge_retrieval.sources import Problem
    from edge_retrieval.store import FoundInStore

T = TypeVar("T")

SKIPPED_SHOWN = 20
"""Problems printed by name; the rest are counted. All of them are kept in the register."""

PIPE_WIDTH = 140
"""Letters in a line where stdout is no terminal: enough that nothing is cut that is looked for."""

GAP = 2
"""Between two columns."""

LEAST_WIDTH = 8
"""Columns that give way keep this many letters."""

BEGINNING = 8
"""Characters that tell a page or a report of ours from any other file, register.json included."""

STDIN = Path("-")
"""What stands for standard input where a drawing is named."""

QUIET = 30.0
"""Seconds between two lines on how far long work is, where stderr is no terminal."""

EXIT_FIXABLE, EXIT_SKIPPED = 1, 3


def say(text: str) -> None:
    """Write one line to stderr: talk, not a result."""
    print(text, file=sys.stderr)


@contextlib.contextmanager
def some_stdout() -> Iterator[None]:
    """See to it that any name of a file can be printed, and that there is somewhere to print."""
    if sys.stdout is None:  # closed by the caller, who wants no result
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    yield


def bar(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Draw a bar on stderr with rate and time left; where it is no terminal, a line now and then.

    Args:
        items: Passed through.
        description: What is done with them.
        total: Their number; None: asked of `items`, and left out if they do not know.
        clock: Gives seconds.
    """
    total = total if total is not None else operator.length_hint(items) or None
    if not sys.stderr.isatty():
        say(f"{description} ...")
        yield from _logged(items, description, total, clock)
        return
    from rich import progress as parts
    from rich.console import Console
    from rich.table import Column
    from rich.text import Text

    class Pace(parts.ProgressColumn):
        def render(self, task: parts.Task) -> Text:
            return Text(_pace(task.completed, total, task.elapsed or 0))

    columns = (
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(bar_width=20),
        parts.MofNCompleteColumn(),
        parts.TimeElapsedColumn(),
        Pace(Column(no_wrap=True)),
    )
    console = Console(stderr=True)
    with parts.Progress(*columns, console=console, transient=True, get_time=clock) as progress:
        yield from progress.track(items, total=total, description=description)


def _logged(
    items: Iterable[T], description: str, total: int | None, clock: Callable[[], float]
) -> Iterator[T]:
    """Pass items through; every `QUIET` seconds at most, say how far they have come."""
    began = said = clock()
    for done, item in enumerate(items):
        now = clock()
        if done and now - said >= QUIET:
            said = now
            of = f" of {total}" if total else ""
            say(f"{description}: {done}{of}, {_pace(done, total, now - began)}")
        yield item


def _pace(done: float, total: int | None, seconds: float) -> str:
    """Return "3.4 it/s, 0:00:23 left", as much of it as is known; slow ones "12.5 s/it"."""
    if not done or not seconds:
        return ""
    rate = f"{done / seconds:.1f} it/s" if done > seconds else f"{seconds / done:.1f} s/it"
    if total is None:
        return rate
    left = timedelta(seconds=round(max(0.0, total - done) * seconds / done))
    return f"{rate}, {left} left"


def one_line(text: str) -> str:
    """Return text from outside as one line that cannot steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def show_problems(problems: Sequence[Problem], *, what: str) -> None:
    """Write what was skipped to stderr, the first ones by name."""
    show_lines([f"{what}: {problem.where}: {problem.reason}" for problem in problems])


def show_lines(lines: Sequence[str]) -> None:
    """Write lines to stderr, the first ones; say how many more there are."""
    for line in lines[:SKIPPED_SHOWN]:
        say(one_line(line))
    if len(lines) > SKIPPED_SHOWN:
        say(f"... and {len(lines) - SKIPPED_SHOWN} more like these")


def answer(text: str) -> None:
    """Write a result to stdout at once: a full disk must not go unnoticed."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise  # the reader has seen enough; typer ends quietly
    except OSError as error:
        raise ConfigError(
            f"the result cannot be written: {error.strerror}", hint="make room where stdout goes"
        ) from error


def takes_any_letter() -> bool:
    """Say whether stdout is Unicode; an old locale may not be."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def print_json(value: Any) -> None:
    """Write one JSON document to stdout, in ASCII where stdout cannot take more."""
    answer(json.dumps(value, indent=2, ensure_ascii=not takes_any_letter(), allow_nan=False))


def print_table(
    title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]
) -> None:
    """Draw a table on stdout.

    Args:
        title: Stands above.
        columns: (heading, "left" | "right" | "cut") of each; "cut" is left and gives way with an
            ellipsis where the terminal is narrow; where that is not enough, or no cell of it says
            anything, the column is left out.
        rows: Cells as text; shown as they are, no markup.
    """
    from rich.box import ASCII, SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe has no width: give the table room, so that nothing is cut that a script looks for.
    terminal = sys.stdout.isatty()
    drawn = io.StringIO()
    console = Console(
        file=drawn,
        force_terminal=terminal,
        width=None if terminal else PIPE_WIDTH,
        highlight=False,
    )
    box = SIMPLE_HEAD if takes_any_letter() else ASCII
    table = Table(box=box, collapse_padding=True, pad_edge=False)
    lines = [[one_line(cell) for cell in row] for row in rows]
    widths = [
        max(len(text) for text in (heading, *(line[i] for line in lines)))
        for i, (heading, _) in enumerate(columns)
    ]
    cut = [i for i, (_, side) in enumerate(columns) if side == "cut"]
    room = console.width - 1 - sum(w + GAP for i, w in enumerate(widths) if i not in cut)
    # What may give way goes, the last first, before a number is cut; so does what says nothing.
    gone = [i for i in cut if lines and not any(line[i] for line in lines)]
    while (left := [i for i in cut if i not in gone]) and room < (LEAST_WIDTH + GAP) * len(left):
        gone.append(left[-1])
    cut = [i for i in cut if i not in gone]
    for done, i in enumerate(sorted(cut, key=widths.__getitem__)):  # short ones leave room
        widths[i] = min(widths[i], max(LEAST_WIDTH, room // (len(cut) - done) - GAP))
        room -= widths[i] + GAP
    kept = [i for i in range(len(columns)) if i not in gone]
    for heading, side in (columns[i] for i in kept):
        justify: Literal["left", "right"] = "right" if side == "right" else "left"
        table.add_column(heading, justify=justify, no_wrap=True)
    for line in lines:
        table.add_row(*(Text(shorten(line[i], widths[i])) for i in kept))
    console.print(Text(one_line(title), style="bold"), soft_wrap=True)
    console.print(table)
    answer("\n".join(line.rstrip() for line in drawn.getvalue().splitlines()))


def count(number: int, thing: str) -> str:
    """Say how many: "1 design", "2 designs"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def weight(size: int) -> str:
    """Say how many bytes, in a unit that leaves digits to read: "312 B", "4.1 kB", "1,234.5 MB"."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def shorten(text: str, width: int) -> str:
    """Cut a long text, at a word if that costs few letters, with an ellipsis."""
    if len(text) <= width:
        return text
    start = text[: width - 1]
    words = start.rsplit(" ", 1)[0].rstrip(",; ")
    return (words if len(words) > 0.7 * len(start) else start.rstrip(",; ")) + "…"


def write_text(path: Path, text: str) -> Path:
    """Write a file that the user named, whole or not at all; return where.

    Only a file that begins as `text` does is replaced: one slip of the hand on a command line must
    not cost a drawing or a register.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8")  # a pipe, /dev/stdout: nothing to replace
            return path
        refuse_another_kind(path, text)
        unfinished = path.parent / f".edge-ret-{os.getpid()}.part"
        try:
            unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
    except OSError as error:
        missing = not path.parent.is_dir()
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            hint=f"make the folder {path.parent} first"
            if missing
            else "make room"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "choose another file",
        ) from error
    return path


def refuse_another_kind(path: Path, text: str) -> None:
    """Refuse a file that is there and does not begin as `text` does."""
    if not path.is_file():
        return
    begins = text[:BEGINNING].encode()
    try:
        with path.open("rb") as file:
            there = file.read(len(begins))
    except OSError as error:
        raise ConfigError(
            f"{path} is there and cannot be read: {error.strerror}; it is not replaced",
            hint="choose another name",
        ) from error
    if there not in (b"", begins):
        raise ConfigError(
            f"{path} is another kind of file: it is not replaced", hint="choose another name"
        )


def read_drawing(path: Path) -> bytes:
    """Read a drawing that the user named; "-" is standard input."""
    if path == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise DrawingError(
                "- means standard input, and nothing comes from there",
                hint="pipe a drawing into it: edge-ret search - < drawing.png",
            )
        return _within_limits(sys.stdin.buffer, "standard input")
    try:
        with path.open("rb") as file:
            return _within_limits(file, str(path))
    except IsADirectoryError as error:
        raise DrawingError(
            f"{path} is a folder, not a drawing", hint="name the image files: folder/*.png"
        ) from error
    except OSError as error:
        raise DrawingError(
            f"{path} cannot be read: {error.strerror}", hint="check the path of the drawing"
        ) from error


def _within_limits(file: BinaryIO, where: str) -> bytes:
    """Read a file, and no more of it than may be held."""
    from edge_retrieval.limits import current, raising, read_within

    data = read_within(file)
    if len(data) > current().bytes:
        raise DrawingError(f"{where}: {current().too_large()}", hint=raising("mb"))
    return data


def open_bundle(folder: Path | None) -> Bundle:
    """Open the bundle that was named, else the default one."""
    from edge_retrieval.bundle import Bundle, default_bundle_path

    return Bundle.open(folder if folder is not None else default_bundle_path())


def chosen_backend(bundle: Bundle, backend: str | None, threads: int | None = None) -> str:
    """Return the backend to load; of "auto", say which one it is and why."""
    from edge_retrieval.encoder import AUTO

    if backend != AUTO:
        return backend or bundle.format
    from edge_retrieval.encoder import choose_backend  # measures: nobody else needs it

    choice = choose_backend(bundle, threads=threads)
    say(one_line(f"backend: {choice.why}"))
    return choice.backend


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


def opened_store(named: str | None, register: Register) -> FoundInStore | None:
    """Open the store that was named, and see that it holds what the register does."""
    if named is None:
        return None
    from edge_retrieval.store import open_store, read_address

    return open_store(read_address(named), register)


def completes(kind: str) -> Callable[[typer.Context, str], list[str]]:
    """Return what completes a parameter out of the register that the line names.

    Args:
        kind: "numbers", "sources" or "classes"; see `completing.of_register`.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        from edge_retrieval.cli.completing import of_register

        return of_register(kind, ctx.params, incomplete)

    return complete


RegisterOption = Annotated[
    Path | None,
    typer.Option(
        "--register",
        "-r",
        help="Register to use. Default: $EDGE_RET_REGISTER, ./register, then the sample.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Let a store find the candidates, as edge-ret store push filled it:"
        " milvus:http://HOST:19530, milvus:FILE.db; #NAME behind it names a collection.",
    ),
]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Encoder bundle. Default: the one that ships.")
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--backend",
        help="onnx, openvino, or auto: the fastest that computes right here."
        " Default: what the bundle is made for.",
    ),
]
DimOption = Annotated[
    int | None,
    typer.Option(
        "--dim",
        help="Use so many of the first numbers of an embedding: smaller and faster, of a bundle"
        " that was trained for it.",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StrictFlag = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 if anything had to be skipped.")
]
