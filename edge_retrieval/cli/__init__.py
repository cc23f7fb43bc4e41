"""`edge-ret`: parse, call, print. The only package with typer, rich and exit codes.

stdout is the result; talk, bars and warnings go to stderr. Exit codes: 0 good, 1 something the user
can fix, 2 wrong usage, 3 done but some inputs were skipped (`--strict` turns that into 1).

Everything heavy is imported inside the command that needs it: `edge-ret --help` and a search must
not pay for the trainer, the tables or the bars.
"""

from __future__ import annotations

from typing import Annotated

import typer

from edge_retrieval import __version__
from edge_retrieval.cli.checking import doctor
from edge_retrieval.cli.exporting import export
from edge_retrieval.cli.making import synth, train
from edge_retrieval.cli.measures import bench, evaluate
from edge_retrieval.cli.registers import index, info, search, verify
from edge_retrieval.cli.talk import EXIT_FIXABLE, one_line, say, some_stdout
from edge_retrieval.errors import EdgeRetrievalError

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

app.command()(index)
app.command()(search)
app.command("eval")(evaluate)
app.command()(bench)
app.command()(doctor)
app.command()(train)
app.command()(export)
data_app.command()(synth)
register_app.command()(verify)
register_app.command()(info)


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


def main() -> None:
    """Run the command line; print a user's error as one line and a hint."""
    try:
        with some_stdout():
            app()
    except EdgeRetrievalError as error:
        # Not through rich: it wraps long paths and eats [...].
        say(f"error: {one_line(str(error))}")
        say(f"hint: {one_line(error.hint)}")
        raise SystemExit(EXIT_FIXABLE) from None
