"""How much has to be installed for some packages: bytes of them and of all that they require.

    python benchmarks/peer_install.py PACKAGE[+PACKAGE ...] ...

Prints JSON for the interpreter that runs it: for each group of packages their versions, the bytes
of the files that pip recorded for them and for what they require without extras (compiled caches
left out), how many distributions these are, and which of the group are missing. Imports nothing of
this project.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any


def main() -> None:
    """Print what each group of the command line takes."""
    print(json.dumps({group: told(group) for group in sys.argv[1:]}))


def told(group: str) -> dict[str, Any]:
    """Return versions, bytes, number of distributions, and what is missing of a group."""
    names = group.split("+")
    every: dict[str, Distribution] = {}
    missing = []
    for name in names:
        try:
            every |= closure(name)
        except PackageNotFoundError:
            missing.append(name)
    return {
        "versions": {name: every[plain(name)].version for name in names if name not in missing},
        "bytes": sum(map(size, every.values())),
        "distributions": len(every),
        "missing": missing,
    }


def closure(name: str) -> dict[str, Distribution]:
    """Return a package and all that is required below it, by their names.

    Raises:
        PackageNotFoundError: The package itself is not installed.
    """
    found = {plain(name): distribution(name)}
    waiting = list(found.values())
    while waiting:
        for need in needs(waiting.pop()):
            if plain(need) in found:
                continue
            try:
                found[plain(need)] = distribution(need)
            except PackageNotFoundError:  # of another system, or built in
                continue
            waiting.append(found[plain(need)])
    return found


def needs(one: Distribution) -> list[str]:
    """Return what a distribution requires here, without extras."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:  # pip brings a copy of its own
        from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment]
    required = [Requirement(line) for line in one.requires or ()]
    here = {"extra": ""}
    return [need.name for need in required if not need.marker or need.marker.evaluate(here)]


def size(one: Distribution) -> int:
    """Return the bytes of the files that pip recorded for a distribution."""
    files = [file for file in one.files or () if file.suffix != ".pyc"]
    paths = [one.locate_file(file) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())  # type: ignore[attr-defined]


def plain(name: str) -> str:
    """Return a name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
