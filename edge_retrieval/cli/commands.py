"""The commands of `edge-ret`, by name, and the one call that runs them.

Everything heavy is imported inside the command that needs it, and of the commands only the one that
is called: a search must not pay for the trainer, the tables or the bars.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from edge_retrieval import __version__
from edge_retrieval.cli.talk import EXIT_FIXABLE, one_line, say, some_stdout
from edge_retrieval.errors import EdgeRetrievalError

ABOUT = "Find the registered designs that look like a drawing: offline, on this machine."

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
    "calibrate": "calibrating.calibrate",
    "train": "making.train",
    "export": "exporting.export",
    "teacher": "recipes.teacher",
    "reproduce": "recipes.reproduce",
}
"""Command -> where it is, in the order in which the help names them."""

GROUPS = {
    "data": ("Make drawings.", {"synth": "making.synth", "ldraw": "making.ldraw"}),
    "register": (
        "Look after a register.",
        {name: f"keeping.{name}" for name in ("info", "remove", "compact", "merge", "verify")},
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
        help=ABOUT,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    wanted = {only: COMMANDS[only]} if only in COMMANDS else COMMANDS
    _fill(app, wanted)
    if wanted is COMMANDS:
        for name, (about, commands) in GROUPS.items():
            group = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)
            _fill(group, commands)
            app.add_typer(group, name=name)
    return app


def _fill(app: typer.Typer, commands: dict[str, str]) -> None:
    for name, place in commands.items():
        module, function = place.split(".")
        loaded = import_module(f"edge_retrieval.cli.{module}")
        # A command may bring a class of its own: bench has another one behind its name.
        classes = getattr(loaded, "CLASSES", {})
        app.command(name, cls=classes.get(function))(getattr(loaded, function))


def run() -> None:
    """Run the command line; print a user's error as one line and a hint."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in ("search", "bench"):
        # numpy's BLAS starts a thread a core when it is loaded, which costs as much as loading
        # numpy does; one search multiplies too little to win that back. A bench measures as it is.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with some_stdout():
            application(command)()
    except EdgeRetrievalError as error:
        # Not through rich: it wraps long paths and eats [...].
        say(f"error: {one_line(str(error))}")
        say(f"hint: {one_line(error.hint)}")
        raise SystemExit(EXIT_FIXABLE) from None
