"""Commands that look after a register: info, remove, compact, merge and verify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_retrieval.cli.talk import (
    EXIT_SKIPPED,
    JsonFlag,
    bar,
    completes,
    count,
    one_line,
    print_json,
    say,
    show_lines,
    show_problems,
    weight,
)
from edge_retrieval.errors import RegisterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_retrieval.register.columns import Columns

LOG, LOG_INDEX = "designs.sqlite-wal", "designs.sqlite-shm"
"""What stands beside a database that is open."""

RegisterArgument = Annotated[Path, typer.Argument(metavar="REGISTER")]


def info(register_path: RegisterArgument, as_json: JsonFlag = False) -> None:
    """Show what a register holds, which encoder made it, and what it takes on disk.

    Example: edge-ret register info my-register
    """
    from edge_retrieval.register import Register

    with Register.open(register_path) as register:
        facts: dict[str, Any] = {
            "register": str(register_path),
            "designs": register.designs_count,
            "figures": register.figures_count,
            "levels": list(register.levels),
            "bundle": register.bundle.name,
            "precision": register.bundle.precision,
            "fingerprint": register.bundle.fingerprint,
            "dim": register.bundle.dim,
            "snapshot": register.snapshot,
            "generation": register.generation,
            "dead rows": len(register.columns.dead_rows),
            **holdings_of(register.columns, register.levels),
            **({"made from": made_from} if (made_from := register.made_from) else {}),
            "bytes": sizes_of(register_path),
        }
    if as_json:
        print_json(facts)
        return
    sizes = facts.pop("bytes")
    for source, number in facts.pop("sources").items():
        facts[f"source {source or 'unnamed'}"] = count(number, "design")
    width = max(12, *map(len, facts))
    for name, value in facts.items():
        print(one_line(f"{name:{width}} {_told(value)}"))
    for name, size in sizes.items():
        print(f"{name:24} {weight(size):>13}")
    if facts["dead rows"]:
        say(f"next: edge-ret register compact {register_path}")


def holdings_of(columns: Columns, levels: Sequence[str]) -> dict[str, Any]:
    """Say of which sources, classes, days and applicants the living designs are."""
    import numpy as np

    places, numbers = np.unique(columns.source[columns.alive], return_counts=True)
    nodes, designs = np.unique(columns.node[columns.alive], return_counts=True)
    paths = [columns.paths[node] for node in nodes.tolist()]
    owners = np.repeat(columns.alive, np.diff(columns.applicant_starts))
    return {
        "sources": {
            columns.sources[place]: number
            for place, number in zip(places.tolist(), numbers.tolist(), strict=True)
        },
        "classes": {
            level: len({path[: depth + 1] for path in paths if len(path) > depth})
            for depth, level in enumerate(levels[:-1])
        },
        "unclassified": int(designs[nodes == 0].sum()),
        "published": _span(columns.published[columns.alive]),
        "filed": _span(columns.filed[columns.alive]),
        "applicants": len(np.unique(columns.applicant_of[owners])),
    }


def _span(days: NDArray[np.int32]) -> dict[str, Any]:
    """Return the first and the last of some days, yyyymmdd, and how many are not known."""
    known = days[days > 0]
    first = last = None
    if len(known):
        first, last = (
            f"{day // 10000}-{day // 100 % 100:02}-{day % 100:02}"
            for day in (int(known.min()), int(known.max()))
        )
    return {"first": first, "last": last, "undated": len(days) - len(known)}


def _told(value: Any) -> str:
    """Return a fact as a person reads it."""
    if isinstance(value, list):
        return ", ".join(value)
    if not isinstance(value, dict):
        return str(value)
    if "how" in value:
        origin, bundle = value["register"], value["bundle"]
        return f"{value['how']} of {origin['name']}, which {bundle['name']} had embedded"
    if "undated" not in value:
        return ", ".join(f"{number} ({level})" for level, number in value.items())
    span = f"{value['first']} to {value['last']}, " if value["first"] else ""
    return f"{span}{value['undated']} undated"


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the bytes of each file of a register, and of its bundle; empty ones are left out.

    So is the index of the database's log, if that is empty.
    """
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    if not sizes.get(LOG):
        sizes.pop(LOG_INDEX, None)
    bundle = sum(path.stat().st_size for path in (folder / "bundle").rglob("*") if path.is_file())
    return {name: size for name, size in sizes.items() if size} | {"bundle": bundle}


def _kept(folder: Path) -> int:
    """Return the bytes that a register takes, without what its database needs while it is open."""
    return sum(size for name, size in sizes_of(folder).items() if name not in (LOG, LOG_INDEX))


SHOWN = 8
"""So many removed designs are named."""


def remove(
    register_path: RegisterArgument,
    numbers: Annotated[
        list[str],
        typer.Argument(metavar="NUMBER...", autocompletion=completes("numbers")),
    ],
) -> None:
    """Remove designs by their numbers, all of them or none.

    They are gone for every search that begins; `compact` gives back their bytes. Where their
    drawings are indexed again they come back.

    Example: edge-ret register remove my-register USD0909824 USD0909825
    """
    from edge_retrieval.filters import find_design
    from edge_retrieval.register import Register

    with Register.open(register_path) as register:
        columns = register.columns
        places = [find_design(columns, number, where=register_path) for number in numbers]
        meant = list(dict.fromkeys(columns.number(place) for place in places))
        gone = register.remove(meant)
        named = f": {', '.join(meant)}" if gone <= SHOWN else ""
        print(f"{register_path}: {count(gone, 'design')} removed{named}")
        print(f"now {now(register.designs_count, register.figures_count)}")
    say("note: they come back if their drawings are indexed again")
    say(f"to erase their vectors and pictures: edge-ret register compact {register_path}")


def compact(register_path: RegisterArgument) -> None:
    """Give back the bytes of removed designs; let the figures of a class lie side by side.

    Example: edge-ret register compact my-register
    """
    from edge_retrieval.cli.caching import make_caches
    from edge_retrieval.register import Register

    before = _kept(register_path) if register_path.is_dir() else 0
    with Register.open(register_path) as register:
        erased = len(register.columns.dead_rows)
        register.compact(track=bar)
        make_caches(register)
        totals = now(register.designs_count, register.figures_count)
    after = _kept(register_path)
    print(f"{register_path}: {weight(before)} before, {weight(after)} now")
    if erased:
        print(f"erased: vectors, pictures and records of {count(erased, 'removed figure')}")
    print(f"now {totals}")


def merge(
    register_path: Annotated[Path, typer.Argument(metavar="INTO")],
    others: Annotated[list[Path], typer.Argument(metavar="FROM...")],
) -> None:
    """Add the designs of other registers of the same bundle; nothing is embedded again.

    Designs that are there already, by their numbers, get the sheets that they lack.

    Example: edge-ret register merge my-register another-register
    """
    from edge_retrieval.cli.caching import make_caches
    from edge_retrieval.register import Register

    problems = []
    with Register.open(register_path) as register:
        for path in others:
            with Register.open(path) as other:
                result = register.merge_from(other, track=bar)
            show_problems(result.problems, what="skipped")
            problems += result.problems
            print(
                f"{path}: {count(result.designs_added, 'design')},"
                f" {count(result.figures_added, 'figure')} added;"
                f" {count(result.unchanged, 'sheet')} there already"
            )
        make_caches(register)
        print(f"now {now(register.designs_count, register.figures_count)}")
    if problems:
        say(f"skipped: {count(len(problems), 'design')}")
        raise typer.Exit(EXIT_SKIPPED)


def now(designs: int, figures: int) -> str:
    """Say how many designs and figures there are."""
    return f"{count(designs, 'design')}, {count(figures, 'figure')}"


def verify(
    register_path: RegisterArgument,
    mend: Annotated[
        bool,
        typer.Option("--repair", help="Mend it: keep what is sound, name and drop what is not."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check every byte of every file of a register against what was recorded.

    Examples: edge-ret register verify my-register; edge-ret register verify --repair my-register
    """
    from edge_retrieval.register import Register
    from edge_retrieval.register.repairing import can_mend, faults_of, repair
    from edge_retrieval.register.state import AGAIN

    faults = faults_of(register_path)
    done = repair(register_path, track=bar) if mend and faults else []
    left = faults_of(register_path) if done else faults
    if as_json:
        print_json({"register": str(register_path), "faults": faults, "done": done, "left": left})
    else:
        show_lines(faults)
        show_lines([f"repaired: {line}" for line in done])
    if left:
        hint = f"run: edge-ret register verify --repair {register_path}; or copy it again"
        raise RegisterError(
            f"{register_path}: {count(len(left), 'fault')}",
            hint=hint if can_mend(register_path) else AGAIN,
        )
    if not as_json:
        with Register.open(register_path) as register:
            print(f"{register_path}: good, {count(register.designs_count, 'design')}")
