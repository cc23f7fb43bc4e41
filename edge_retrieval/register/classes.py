"""Which classes of a register a user means by "06", "6-1" or "furniture/chairs"."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_retrieval.errors import TaxonomyError
from edge_retrieval.taxonomy import LabelPath, parse_locarno

SHOWN = 12
"""So many classes are named in a hint."""


def nodes_within(
    paths: Mapping[int, LabelPath], prefixes: Sequence[str], *, where: Path
) -> list[int]:
    """Return the nodes of a label tree at or below any of the classes named.

    Args:
        paths: Label path of each node.
        prefixes: A label of any level, or a path of labels joined by "/"; Locarno codes in any
            spelling; upper and lower case alike.
        where: The register, for messages.

    Raises:
        TaxonomyError: No node is named so.
    """
    nodes: set[int] = set()
    for prefix in prefixes:
        wanted = _spellings(prefix)
        within = {node for node, path in paths.items() if wanted & _names_above(path)}
        if not within:
            raise TaxonomyError(
                f"{where}: no design is in class {prefix!r}", hint=_nearby(paths, wanted)
            )
        nodes |= within
    return sorted(nodes)


def _names_above(path: LabelPath) -> set[str]:
    """Return every name of this node and of those above it: each label, each path from the root."""
    names = {label.casefold() for label in path}
    return names | {"/".join(path[: i + 1]).casefold() for i in range(len(path))}


def _spellings(prefix: str) -> set[str]:
    text = prefix.strip().strip("/").casefold()
    spellings = {text}
    if re.fullmatch(r"\d", text):
        spellings.add(f"0{text}")
    with contextlib.suppress(TaxonomyError):  # no Locarno code: a name of another taxonomy
        spellings.add(parse_locarno(prefix).casefold())
    return spellings - {""}


def _nearby(paths: Mapping[int, LabelPath], wanted: set[str]) -> str:
    """Name classes of the register: those that begin like the wanted one, else the top ones."""
    labels = {path[-1] for path in paths.values() if path}
    near = {label for label in labels if any(label.casefold()[:2] == w[:2] for w in wanted)}
    names = sorted(near or {path[0] for path in paths.values() if path})
    if not names:
        return "no design of this register has a class"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"classes here: {', '.join(names[:SHOWN])}{more}"
