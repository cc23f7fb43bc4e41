"""Which of the sources in a run's cache the run trained on, and which it validated with.

A cache may be shared by runs of other sizes and other sources, and holds validation drawings beside
those that were trained on. `provenance.json` names each source by the digest of what was cut of it,
so a run folder and its cache can be moved. A run of an older version names the digest of all its
sources together; where even that is missing, every source of the run's size is taken.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from distill.drawing_cache import DAMAGED, CutSource, read_cut
from edge_retrieval.errors import ConfigError

MOST_ORDERS = 100_000
"""Orders of sources that are tried for an older run: a second."""

Parts = list[tuple[str, CutSource]]
"""Sources with their names, in the order in which they were trained on."""


@dataclass(frozen=True)
class RunCache:
    """The sources of one run.

    Attributes:
        training: Those that were trained on, or split.
        validation: Those that were given to validate with.
    """

    training: Parts
    validation: Parts


def read_run_cache(run: Path, size: int) -> RunCache:
    """Open the sources of a run in its cache.

    Args:
        run: The run folder; its cache may be a link.
        size: Side of the squares, pixels.

    Raises:
        ConfigError: A source of the run is not there, or damaged.
    """
    folders, damaged = _opened(run / "cache", size)
    said = _said(run / "provenance.json")
    sources, validation = (_names(said.get(key)) for key in ("sources", "validation"))
    cut = said.get("cut")
    if isinstance(cut, Mapping):
        return RunCache(
            _named(run, sources, _names(cut.get("sources")), folders, damaged),
            _named(run, validation, _names(cut.get("validation")), folders, damaged),
        )
    wanted = said.get("drawings")
    found = _in_order(folders, len(sources), str(wanted)) if wanted and sources else None
    if found is not None:
        rest = [digest for digest in folders if digest not in found]
        # Which of several others it validated with, an older version did not say.
        others = rest if len(rest) == len(validation) else []
        return RunCache(
            _named(run, sources, found, folders, damaged),
            _named(run, validation[: len(others)], others, folders, damaged),
        )
    if damaged or not folders or (wanted and len(folders) > len(sources)):
        raise damaged or _missing(run)
    return RunCache([(part.folder, part.cut) for part in folders.values()], [])


@dataclass(frozen=True)
class _Opened:
    folder: str
    cut: CutSource


def _opened(cache: Path, size: int) -> tuple[dict[str, _Opened], ConfigError | None]:
    """Return sources of the right size by digest, and why another could not be opened."""
    found: dict[str, _Opened] = {}
    damaged: ConfigError | None = None
    for folder in sorted(path for path in cache.glob("*") if _is_cache(path)):
        try:
            part = read_cut(folder)
        except DAMAGED as error:
            damaged = ConfigError(
                f"{folder}: damaged: {error}", hint="delete it, then: edge-ret train --resume"
            )
            continue
        if part.fitted.shape[1:] == (size, size):
            found.setdefault(part.digest, _Opened(folder.name, part))
    return found, damaged


def _named(
    run: Path,
    names: Sequence[str],
    digests: Sequence[str],
    folders: Mapping[str, _Opened],
    damaged: ConfigError | None,
) -> Parts:
    """Return the sources of these digests under the names that training gave them."""
    if len(names) != len(digests) or not all(digest in folders for digest in digests):
        raise damaged or _missing(run)
    stems = [Path(name).stem or "source" for name in names]
    return [(stem, folders[digest].cut) for stem, digest in zip(stems, digests, strict=True)]


def _in_order(digests: Iterable[str], count: int, wanted: str) -> Sequence[str] | None:
    """Return those of the digests that, in this order, have the digest `wanted` together."""
    known = list(digests)
    if math.perm(len(known), count) > MOST_ORDERS:
        return None
    for order in permutations(known, count):
        if hashlib.sha256("".join(order).encode()).hexdigest() == wanted:
            return order
    return None


def _missing(run: Path) -> ConfigError:
    return ConfigError(
        f"{run / 'cache'}: no cut drawings to calibrate and check with",
        hint=f"cut them again: edge-ret train --resume -o {run} with the run's sources",
    )


def _said(file: Path) -> Mapping[str, Any]:
    """Return the provenance of a run; empty if it cannot be read, which the export tells."""
    try:
        said = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _is_cache(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
