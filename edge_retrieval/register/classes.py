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
        prefixes: A label of any level, or a path of labels joined by "/"; Locarno codes and US
            classes in any spelling; several with commas; upper and lower case alike.
        where: The register, for messages.

    Raises:
        TaxonomyError: No node is named so.
    """
    nodes: set[int] = set()
    for prefix in prefixes:
        within = _within(paths, _spellings(prefix))
        parts = re.split(r"\s*[,;]\s*", prefix.strip())
        if not within and len(parts) > 1:  # "06-01,06-08": but a label may hold a comma, too
            within = set(nodes_within(paths, [part for part in parts if part], where=where))
        if not within:
            raise TaxonomyError(
                f"{where}: no design is in class {prefix!r}",
                hint=_nearby(paths, _spellings(prefix)),
            )
        nodes |= within
    return sorted(nodes)


def _within(paths: Mapping[int, LabelPath], wanted: set[str]) -> set[int]:
    return {node for node, path in paths.items() if wanted & _names_above(path)}


def _names_above(path: LabelPath) -> set[str]:
    """Return every name of this node and of those above it: each label, each path from the root."""
    names = {label.casefold() for label in path}
    return names | {"/".join(path[: i + 1]).casefold() for i in range(len(path))}


def _spellings(prefix: str) -> set[str]:
    text = re.sub(r"^class\s+", "", prefix.strip().strip("/").casefold())
    spellings = {text}
    if re.fullmatch(r"\d", text):
        spellings.add(f"0{text}")
    if us := re.fullmatch(r"d\s*0*(\d{1,2})(?:\s*[-/ ]\s*0*(\d+(?:\.\d+)?))?", text):
        spellings.add(f"d{int(us[1]):02}" + (f"/{us[2]}" if us[2] else ""))
    if re.search("[,;]", text):
        return spellings - {""}
    with contextlib.suppress(TaxonomyError):  # no Locarno code: a name of another taxonomy
        spellings.add(parse_locarno(text).casefold())
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
