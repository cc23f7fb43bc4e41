"""Commands that look after a register: info, remove, compact, merge and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_retrieval.cli.talk import (
    EXIT_SKIPPED,
    JsonFlag,
    bar,
    count,
    print_json,
    say,
    show_lines,
    show_problems,
)
from edge_retrieval.errors import RegisterError

RegisterArgument = Annotated[Path, typer.Argument(metavar="REGISTER")]


def info(register_path: RegisterArgument, as_json: JsonFlag = False) -> None:
    """Show what a register holds, which encoder made it, and what it takes on disk."""
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
            "snapshot": register.snapshot,
            "generation": register.generation,
            "dead rows": len(register.columns.dead_rows),
            "bytes": sizes_of(register_path),
        }
    if as_json:
        print_json(facts)
        return
    sizes = facts.pop("bytes")
    for name, value in facts.items():
        print(f"{name:12} {', '.join(value) if isinstance(value, list) else value}")
    for name, size in sizes.items():
        print(f"{name:24} {size / 1e6:10,.1f} MB")
    if facts["dead rows"]:
        say(f"next: edge-ret register compact {register_path}")


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the bytes of each file of a register, and of its bundle."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    bundle = sum(path.stat().st_size for path in (folder / "bundle").rglob("*") if path.is_file())
    return {name: size for name, size in sizes.items() if size} | {"bundle": bundle}


def remove(
    register_path: RegisterArgument,
    numbers: Annotated[list[str], typer.Argument(metavar="NUMBER...")],
) -> None:
    """Remove designs by their numbers, all of them or none.

    They are gone for every search that begins; `compact` gives back their bytes.
    """
    from edge_retrieval.register import Register

    with Register.open(register_path) as register:
        gone = register.remove(numbers)
        print(f"{register_path}: {count(gone, 'design')} removed")
        print(f"now {now(register.designs_count, register.figures_count)}")
    say(f"their bytes go with: edge-ret register compact {register_path}")


def compact(register_path: RegisterArgument) -> None:
    """Give back the bytes of removed designs; let the figures of a class lie side by side."""
    from edge_retrieval.preparing import prepare
    from edge_retrieval.register import Register

    before = sum(sizes_of(register_path).values()) if register_path.is_dir() else 0
    with Register.open(register_path) as register:
        register.compact(track=bar)
        prepare(register, track=bar)
        totals = now(register.designs_count, register.figures_count)
    after = sum(sizes_of(register_path).values())
    print(f"{register_path}: {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now")
    print(f"now {totals}")


def merge(
    register_path: Annotated[Path, typer.Argument(metavar="INTO")],
    others: Annotated[list[Path], typer.Argument(metavar="FROM...")],
) -> None:
    """Add the designs of other registers of the same bundle; nothing is embedded again.

    Designs that are there already, by their numbers, get the sheets that they lack.
    """
    from edge_retrieval.preparing import prepare
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
        prepare(register, track=bar)
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
    """Check every byte of every file of a register against what was recorded."""
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
            print(f"{register_path}: good, {register.designs_count} designs")
