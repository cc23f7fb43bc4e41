"""Making the caches of a register after a command has written in it."""

from __future__ import annotations

from edge_retrieval.cli.talk import bar, one_line, say
from edge_retrieval.errors import MissingExtraError, RegisterError
from edge_retrieval.preparing import prepare
from edge_retrieval.register import Register


def make_caches(register: Register) -> None:
    """Make what makes searching faster; if that fails, say so: the register is whole without."""
    try:
        prepare(register, track=bar)  # does nothing while all are compared fast enough
    except (RegisterError, MissingExtraError) as error:
        say_slower(error)


def say_slower(error: RegisterError | MissingExtraError) -> None:
    """Say that, and why, a register is slower to search than it could be."""
    if isinstance(error, RegisterError):
        say(one_line(f"note: searching is slower than it could be: {error}"))
    else:
        say(one_line(f"note: many searches in one go could be faster: {error}: {error.hint}"))
