"""What all contestants of peers.py are given: the same files, and what is known of each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from peer_runs import Broken, Folders

from edge_retrieval.provenance import host, sha256_of

HERE = Path(__file__).parent
SOUND = 24
"""So many sheets at most lie beside a broken file."""


class Named(Protocol):
    """A contestant, or a library."""

    @property
    def name(self) -> str: ...
    @property
    def packages(self) -> tuple[str, ...]: ...
    @property
    def python(self) -> str: ...


def install(venv: Path) -> None:
    """Make an environment with all peers and this checkout."""
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    wanted = ["-r", str(HERE / "peers.txt"), str(HERE.parent)]
    subprocess.run([str(venv / "bin" / "python"), "-m", "pip", "install", *wanted], check=True)


def folders_of(drawings: Path, count: int, work: Path) -> Folders:
    """Copy some sheets, a few of them with a broken file in their midst, and a drawing."""
    found = sorted(path for path in drawings.iterdir() if path.is_file())
    if len(found) < count:
        raise SystemExit(f"{drawings} holds {len(found)} files; ask for fewer with --sheets")
    some = [found[number * len(found) // count] for number in range(count)]
    few = some[:SOUND]
    middle = few[len(few) // 2]
    whole = middle.read_bytes()
    ways = {"cut off": whole[: len(whole) // 2], "no image": b"no image" * 64}
    place = work / f"sheets-{count}"
    broken = {
        way: Broken(place / way, f"{middle.stem}-{way.replace(' ', '-')}{middle.suffix}")
        for way in ways
    }
    folders = Folders(place / "sheets", place / "few", broken, place / f"drawing{middle.suffix}")
    if not folders.drawing.exists():
        shutil.rmtree(place, ignore_errors=True)
        copies = [(folders.sheets, some), (folders.few, few)]
        copies += [(each.folder, few) for each in broken.values()]
        for folder, paths in copies:
            folder.mkdir(parents=True)
            for path in paths:
                shutil.copyfile(path, folder / path.name)
        for way, content in ways.items():
            (broken[way].folder / broken[way].name).write_bytes(content)
        shutil.copyfile(middle, folders.drawing)  # last: all is there
    return folders


def installed(every: Iterable[Named]) -> dict[str, dict[str, Any]]:
    """Ask the interpreter of each what its packages take; by its name."""
    groups: dict[str, set[str]] = {}
    wanted = {one.name: (one.python, "+".join(one.packages)) for one in every}
    for python, group in wanted.values():
        groups.setdefault(python, set()).add(group)
    found: dict[str, dict[str, Any]] = {}
    for python, packages in groups.items():
        command = [python, str(HERE / "peer_install.py"), *sorted(packages)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"{python} cannot be asked what it has ({error}); make it with --install"
            ) from error
        found[python] = json.loads(done.stdout)
    return {name: found[python][group] for name, (python, group) in wanted.items()}


def settings_of(
    folders: Folders, network: Path, searches: int, versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the rounds of a contestant must agree in to be put together."""
    sheets = sorted(folders.sheets.iterdir())
    return {
        "sheets": [path.name for path in sheets],
        "bytes": sum(path.stat().st_size for path in sheets),
        "network": sha256_of(network),
        "searches": searches,
        "versions": dict(versions),
        "host": host(),
    }
