"""The command that states who made a bundle, of what: attest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.talk import JsonFlag, one_line, print_json, say


def attest(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle to state.")],
    by: Annotated[
        str, typer.Option("--by", help="Who signs it off: 'Name <address>'. Default: nobody.")
    ] = "",
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="The file that it was made by.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """State who made a bundle, of what, in a file beside it, which doctor verifies.

    statement.json lists the SHA-256 of every file, of the recipe and of the inputs, and the
    versions. With --by its maker answers for it by name; signed with a key, for everybody to see.

    Examples: edge-ret attest bundles/mine-int8 --by 'Ada <ada@example.org>' --recipe mine.toml
    """
    from edge_retrieval.bundle import Bundle
    from edge_retrieval.statement import NAMESPACE, SIGNED_OFF, save_statement

    made = save_statement(Bundle.open(folder), by=by, recipe=recipe)
    if as_json:
        print_json({"statement": str(made.path), "sha256": made.sha256, "by": made.by})
    else:
        print(one_line(f"{made.path}: SHA-256 {made.sha256}"))
    if made.by:
        say(one_line(f"signed off by {made.by}: {SIGNED_OFF}"))
    say(f"to sign it with a key: ssh-keygen -Y sign -n {NAMESPACE} -f KEY {made.path}")
