"""Which pictures a terminal can show: told by its environment, never by asking.

An answer to a question may never come. Nothing but text goes to what is no terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple, TextIO, get_args

import typer

from edge_retrieval.cli.talk import say
from edge_retrieval.errors import ConfigError

PictureKind = Literal["kitty", "iterm", "sixel"]
KINDS: tuple[PictureKind, ...] = get_args(PictureKind)

PicturesOption = Annotated[
    str,
    typer.Option(
        "--pictures",
        help="Show the drawings in the terminal: kitty, iterm, sixel or none."
        " auto: as the terminal can.",
    ),
]


class Cell(NamedTuple):
    """What one letter takes on the screen, in pixels."""

    width: int = 10
    height: int = 20


def kind_of_terminal(environment: Mapping[str, str]) -> PictureKind | None:
    """Return how a terminal shows pictures, by what it tells its programs; None: not at all.

    TERM is believed first, as it is of the terminal itself; then the program that set
    TERM_PROGRAM. Other variables outlive the terminal that set them: a window of another program
    that was started from kitty has a KITTY_WINDOW_ID.
    """
    term = environment.get("TERM", "").lower()
    program = environment.get("TERM_PROGRAM", "").lower()
    if environment.get("TMUX") or environment.get("STY") or term.startswith(("tmux", "screen")):
        return None  # they hold the screen, and pass on no picture
    if term in ("", "dumb", "linux"):
        return None
    if term in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    name = term.split("-")[0]
    if name in ("foot", "mlterm", "yaft", "contour") or "sixel" in term:
        return "sixel"
    if program:
        programs: dict[str, PictureKind] = {
            "ghostty": "kitty",
            "kitty": "kitty",
            "iterm.app": "iterm",
            "wezterm": "iterm",
            "contour": "sixel",
        }
        return programs.get(program)
    if environment.get("LC_TERMINAL") == "iTerm2":  # ssh passes it on
        return "iterm"
    if environment.get("MLTERM"):  # its TERM is that of xterm
        return "sixel"
    return "kitty" if environment.get("KITTY_WINDOW_ID") else None


def chosen_kind(
    wanted: str, *, stream: TextIO | None = None, environment: Mapping[str, str] | None = None
) -> PictureKind | None:
    """Return how to show pictures as the user asked; None where none are to be shown.

    Args:
        wanted: "auto", "none" or one of `KINDS`.
        stream: Where they go; None: stdout. Where it is no terminal, none are shown.
        environment: None: this process's.

    Raises:
        ConfigError: `wanted` is something else.
    """
    if wanted not in ("auto", "none", *KINDS):
        raise ConfigError(
            f"no way to show pictures is called {wanted!r}",
            hint=f"choose from auto, {', '.join(KINDS)}, none",
        )
    kind = next((each for each in KINDS if each == wanted), None)
    if wanted == "none" or not (stream or sys.stdout).isatty():
        if kind:
            say("note: pictures are shown in a terminal only, and here is none: left out")
        return None
    return kind or kind_of_terminal(os.environ if environment is None else environment)


def cell_of(stream: TextIO) -> Cell:
    """Return the size of a letter as the system knows it, else that of the VT340."""
    try:
        import fcntl  # not on Windows
        import struct
        import termios

        packed = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", packed)
        cell = Cell(width // columns, height // rows)
    except (ImportError, OSError, ValueError, ZeroDivisionError):
        return Cell()
    return cell if 4 <= cell.width <= 100 and 6 <= cell.height <= 200 else Cell()
