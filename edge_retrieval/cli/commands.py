"""The commands of `edge-ret`, by name, and the one call that runs them.

Everything heavy is imported inside the command that needs it, and of the commands only the one that
is called: a search must not pay for the trainer, the tables or the bars.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, TypedDict

import typer

from edge_retrieval import __version__
from edge_retrieval.cli.talk import EXIT_FIXABLE, one_line, say, some_stdout
from edge_retrieval.errors import MORE_MEMORY, EdgeRetrievalError, is_out_of_memory

ABOUT = """Find the registered designs that look like a drawing: offline, on this machine.

Examples: edge-ret search drawing.png -r my-register; edge-ret --show-completion bash
"""

LINE = 72
"""Letters of an example in one line: a terminal is no narrower than 80."""

HELP: dict[str, Any] = {"context_settings": {"help_option_names": ["-h", "--help"]}}
SHOW = "--show-completion"
COMPLETING = "_EDGE_RET_COMPLETE"
"""Set by a shell that asks how a line may go on."""

COMMANDS = {
    "index": "registers.index",
    "search": "searching.search",
    "serve": "serving.serve",
    "show": "showing.show",
    "watch": "watching.watch",
    "replay": "replaying.replay",
    "eval": "measures.evaluate",
    "bench": "benching.bench",
    "doctor": "checking.doctor",
    "attest": "attesting.attest",
    "licences": "licensing.licences",
    "calibrate": "calibrating.calibrate",
    "train": "making.train",
    "export": "exporting.export",
    "teacher": "recipes.teacher",
    "reproduce": "recipes.reproduce",
}
"""Command -> where it is, in the order in which the help names them."""

GROUPS = {
    "data": (
        "Make drawings.\n\nExample: edge-ret data synth made/ --designs 520 --seed 1",
        {"synth": "making.synth", "ldraw": "making.ldraw"},
    ),
    "register": (
        "Look after a register.\n\nExample: edge-ret register info my-register",
        {name: f"keeping.{name}" for name in ("info", "remove", "compact", "merge", "verify")}
        | {"reembed": "renewing.reembed"},
    ),
    "store": (
        "Search registers in a store that scales out.\n\n"
        "Example: edge-ret store push my-register --to milvus:http://localhost:19530",
        {
            "push": "storing.push",
            "check": "storing.check",
            "list": "storing.list_kept",
            "drop": "storing.drop",
        },
    ),
}
"""Group -> what it is for, and its commands."""


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"edge-ret {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find the registered designs that look like a drawing: offline, on this machine."""


def application(only: str = "") -> typer.Typer:
    """Return the command line.

    Args:
        only: A command of `COMMANDS`: the others, and what they import, are left out. Anything
            else: all of it.
    """
    app = typer.Typer(
        name="edge-ret",
        **words_of(ABOUT),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        **HELP,
    )
    app.callback()(options)
    wanted = {only: COMMANDS[only]} if only in COMMANDS else COMMANDS
    _fill(app, wanted)
    if wanted is COMMANDS:
        for name, (about, commands) in GROUPS.items():
            group = typer.Typer(**words_of(about), no_args_is_help=True, rich_markup_mode=None)
            _fill(group, commands)
            app.add_typer(group, name=name)
    return app


def _fill(app: typer.Typer, commands: dict[str, str]) -> None:
    for name, place in commands.items():
        module, function = place.split(".")
        loaded = import_module(f"edge_retrieval.cli.{module}")
        # A command may bring a class of its own: bench has another one behind its name.
        classes = getattr(loaded, "CLASSES", {})
        command = getattr(loaded, function)
        # So it may bring limits that it takes flags for.
        limits = getattr(loaded, "LIMITED", {}).get(function)
        if limits:
            from edge_retrieval.cli.limiting import limited

            command = limited(command, limits)
        app.command(name, cls=classes.get(function), **words_of(command.__doc__))(command)


class Words(TypedDict):
    """What the help of a command says: above its options, and below them."""

    help: str
    epilog: str


def words_of(text: str) -> Words:
    """Part a docstring from its examples, which end it and are shown a line each, as they are.

    Args:
        text: It may end with "Example: ..." or "Examples: ...; ...".
    """
    about, title, examples = re.fullmatch(
        r"(.*?)(?:\s(Examples?):\s(.*))?", text, flags=re.S
    ).groups()  # type: ignore[union-attr]  # all texts match
    lines = [f"{title}:", *map(_folded, (examples or "").split(";"))]
    # The \b keeps click from filling lines.
    return Words(help=about.strip(), epilog="\n".join(["\b", *lines]) if title else "")


def _folded(line: str) -> str:
    """Return a line to be pasted into a shell, over several lines where it is long."""
    rows = [""]
    for word in line.split():
        if rows[-1] and len(rows[-1]) + len(word) > LINE:
            rows[-1] += " \\"
            rows.append("   ")
        rows[-1] += f" {word}"
    return "\n".join(f" {row}" for row in rows)


def called(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the first word after the program's name: the command, where it is one.

    A shell that completes a line gives it in the environment.
    """
    if COMPLETING not in environment:
        return argv[1] if len(argv) > 1 else ""
    line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS") or ""
    words = line.split()
    unfinished = int(environment.get("COMP_CWORD") or len(words) - (not line[-1:].isspace()))
    return words[1] if len(words) > 1 and unfinished > 1 else ""


def run() -> None:
    """Run the command line; print a user's error as one line and a hint."""
    command = called(sys.argv, os.environ)
    if command in ("search", "bench"):
        # numpy's BLAS starts a thread a core when it is loaded, which costs as much as loading
        # numpy does; one search multiplies too little to win that back. A bench measures as it is.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with some_stdout():
            if command == SHOW:  # typer's own cannot be told which shell
                app = typer.Typer(add_completion=False, rich_markup_mode=None, **HELP)
                app.command()(import_module("edge_retrieval.cli.completing").show)
                app(sys.argv[2:], prog_name=f"edge-ret {SHOW}")
            application(command)()
    except EdgeRetrievalError as error:
        # Not through rich: it wraps long paths and eats [...].
        say(f"error: {one_line(str(error))}")
        say(f"hint: {one_line(error.hint)}")
        raise SystemExit(EXIT_FIXABLE) from None
    except (MemoryError, OSError, ImportError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say("error: there is not enough memory for this")
        say(f"hint: {MORE_MEMORY}")
        raise SystemExit(EXIT_FIXABLE) from None
