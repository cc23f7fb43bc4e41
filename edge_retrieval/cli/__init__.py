"""`edge-ret`: parse, call, print. The only package with typer, rich and exit codes.

stdout is the result; talk, bars and warnings go to stderr. Exit codes: 0 good, 1 something the user
can fix, 2 wrong usage, 3 done but some inputs were skipped (`--strict` turns that into 1), 130
interrupted.
"""

from __future__ import annotations

EXIT_INTERRUPTED = 130
"""As a shell gives it after Ctrl-C: 128 and the number of the signal."""


def main() -> None:
    """Run the command line; an interrupt ends it quietly, from the first import on."""
    try:
        from edge_retrieval.cli.commands import run

        run()
    except KeyboardInterrupt:  # once a command runs, typer sees to it
        raise SystemExit(EXIT_INTERRUPTED) from None
