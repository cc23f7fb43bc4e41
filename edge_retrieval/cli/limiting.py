"""Flags that raise the limits on what is read: `--max-pixels` and the like."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from edge_retrieval.limits import Limits, within

FLAGS = {
    "pixels": "pixels of a page",
    "pages": "pages of a file",
    "figures": "figures of a file",
    "seconds": "seconds for a page of a PDF",
    "mb": "MiB of a file, or of what an archive holds of one",
    "depth": "archives in archives",
    "members": "members of an archive",
    "elements": "elements of an XML document",
    "rows": "rows of a metadata table",
    "object": "characters of a JSON object",
}
"""Limit -> what is counted."""
DRAWINGS = ("pixels", "pages", "figures", "seconds", "mb")
"""The limits that a command meets which reads drawings and nothing else."""


def limited(
    command: Callable[..., None], names: Sequence[str] = tuple(FLAGS)
) -> Callable[..., None]:
    """Return a command that takes flags for some limits, and runs within them."""

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> None:
        limits = Limits(**{name: given.pop(f"max_{name}") for name in names})
        with within(limits):
            command(*args, **given)

    flags = [
        inspect.Parameter(
            f"max_{name}",
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(Limits(), name),
            annotation=Annotated[
                int, typer.Option(help=f"Most {FLAGS[name]}; what has more is refused.", min=1)
            ],
        )
        for name in names
    ]
    own = inspect.signature(command, eval_str=True)  # who takes a signature evaluates no texts
    signature = own.replace(parameters=[*own.parameters.values(), *flags])
    run.__dict__["__signature__"] = signature
    run.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return run
