"""The command that tells whose all of this is: licences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.talk import JsonFlag, answer, count, one_line, print_json, print_table, say
from edge_retrieval.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from edge_retrieval.bundle import Bundle
    from edge_retrieval.licences import Inventory


def licences(
    bundle_path: Annotated[
        Path | None,
        typer.Argument(
            metavar="BUNDLE", help="Encoder to tell of, too. Default: the one that ships."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what is installed because of this program, with its licences, and whose the data are.

    For the base install and each extra that is installed: what we name, and what that needs. The
    licences are those that the distributions tell themselves.

    Examples: edge-ret licences; edge-ret licences --json; edge-ret licences bundles/mine-int8
    """
    from importlib.metadata import PackageNotFoundError

    from edge_retrieval.licences import inventory, notices

    try:
        found = inventory()
    except PackageNotFoundError as error:
        raise ConfigError(
            "edge-retrieval is not installed here: nothing tells what it needs",
            hint="pip install . in its folder",
        ) from error
    told = notices(_encoder(bundle_path))
    if as_json:
        print_json(
            {
                "parts": list(found.parts),
                "missing": list(found.missing),
                "distributions": [one.to_json() for one in found.distributions],
                "notices": list(told),
            }
        )
        return
    _print(found)
    answer("\n".join(one_line(line) for line in told))


def _encoder(named: Path | None) -> Bundle | None:
    """Read the bundle that was named, else the one that ships, if there is one."""
    from edge_retrieval.bundle import Bundle, default_bundle_path

    if named is not None:
        return Bundle.read(named)
    try:
        return Bundle.read(default_bundle_path())
    except BundleError:
        return None


def _print(found: Inventory) -> None:
    parts = ", ".join(found.parts)
    print_table(
        f"{count(len(found.distributions), 'distribution')} installed for: {parts}",
        (
            ("distribution", "left"),
            ("version", "left"),
            ("licence", "cut"),
            ("for", "cut"),
            ("home page", "cut"),
        ),
        [
            (
                one.name if one.direct else f"  {one.name}",
                one.version,
                one.licence,
                ", ".join(one.parts),
                one.home,
            )
            for one in found.distributions
        ],
    )
    answer("  set in: not named by us, needed by others\n")
    for name in found.missing:
        say(one_line(f"note: {name} is needed and is not installed"))
