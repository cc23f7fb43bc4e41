"""How a line may go on: the scripts that shells load, and what a register knows of its own names.

Nothing here may fail or talk: a shell asks while somebody types.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_retrieval.cli.talk import answer
from edge_retrieval.errors import LIES, ConfigError, EdgeRetrievalError

if TYPE_CHECKING:
    from edge_retrieval.register.columns import Columns

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
HINT = f"name one: edge-ret --show-completion {SHELLS[0]}; there are {', '.join(SHELLS)}"

MOST = 100
"""So many names are offered; what they all begin with is right, however many there are."""


def show(
    shell: Annotated[
        str, typer.Argument(help=f"{', '.join(SHELLS)}. Default: the one that asks.")
    ] = "",
) -> None:
    """Print what a shell has to load so that it completes commands, options and designs."""
    answer(script_of(shell, os.environ))


def script_of(shell: str, environment: Mapping[str, str]) -> str:
    """Return what a shell has to load so that it completes the commands.

    Args:
        shell: Its name; "": that which asks, else that of the user.
        environment: Of this process.

    Raises:
        ConfigError: There is no such shell, or none is known.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from edge_retrieval.cli.commands import COMPLETING

    shell = shell or _shell_here(environment)
    if shell not in SHELLS:
        known = (
            f"no shell is called {shell!r} here" if shell else "which shell it is for is unknown"
        )
        raise ConfigError(known, hint=HINT)
    script: str = get_completion_script(prog_name="edge-ret", complete_var=COMPLETING, shell=shell)
    return script


def _shell_here(environment: Mapping[str, str]) -> str:
    import shellingham  # type: ignore[import-untyped]  # typer's

    with contextlib.suppress(shellingham.ShellDetectionFailure, OSError):
        name, _ = shellingham.detect_shell()
        if name in SHELLS:
            return str(name)
    return Path(environment.get("SHELL", "")).stem


def numbers(register: object, begun: str) -> list[str]:
    """Return numbers of living designs that begin so, in order.

    Args:
        register: As it was named; None: as a search without one finds it, but for the sample.
        begun: The beginning of a number, in the register's own spelling.
    """
    columns = _columns(register)
    if columns is None:
        return []
    order, wanted = columns.by_number, begun.encode(errors="replace")

    def place_of(number: bytes) -> int:
        return bisect.bisect_left(order, number, key=lambda at: columns.number(int(at)).encode())

    # No byte of UTF-8 is ff.
    places = order[place_of(wanted) : place_of(wanted + b"\xff")]
    living = places[columns.alive[places]].tolist()
    if len(living) > MOST:  # the last as well: shells write what all have in common
        living = [*living[: MOST - 1], living[-1]]
    return list(dict.fromkeys(map(columns.number, living)))


def sources(register: object, begun: str) -> list[str]:
    """Return the sources of a register whose names begin so."""
    columns = _columns(register)
    if columns is None:
        return []
    return [name for name in columns.sources if name and name.startswith(begun)]


def classes(register: object, begun: str) -> list[str]:
    """Return the labels above designs that a register has and that begin so, classes first."""
    columns = _columns(register)
    if columns is None:
        return []
    paths = sorted(path for path in columns.paths if path and path[-1].startswith(begun))
    shallow = sorted(paths, key=len)
    return list(dict.fromkeys(path[-1] for path in shallow))[:MOST]


def _columns(register: object) -> Columns | None:
    """Map what a register keeps of its designs, without a look at anything else of it."""
    from edge_retrieval.register.columns import load_columns

    named = register or os.environ.get("EDGE_RET_REGISTER") or "register"
    with contextlib.suppress(EdgeRetrievalError, OSError, *LIES):
        return load_columns(Path(str(named)))
    return None


def of_register(kind: str, params: Mapping[str, Any], begun: str) -> list[str]:
    """Return what may stand for a parameter: "numbers", "sources" or "classes".

    Args:
        kind: Of what.
        params: Of the command, as far as they were typed.
        begun: What was typed of it. Only plain words are offered: shells part others.
    """
    find = {"numbers": numbers, "sources": sources, "classes": classes}[kind]
    found = find(params.get("register_path"), begun)
    return [name for name in found if re.fullmatch(r"[\w./+-]+", name)]
