"""The tables of what faults and a long day cost: faults.py and long_run.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]


def faults(result: dict[str, Any], table: Table) -> str:
    """How many faults of each kind, how commands ended, and what was lost."""
    lost = {kind: 0 for kind in result["kinds"]}
    for line in result["losses"]:
        lost[line.partition(":")[0]] += 1
    rows = []
    for kind, count in result["kinds"].items():
        codes = result["exit codes"][kind]
        ended = ", ".join(f"{code}: {times}" for code, times in codes.items())
        rows.append([kind, str(count), "" if set(codes) == {"0"} else ended, str(lost[kind])])
    rows.append(["all", str(result["faults"]), "", str(result["lost"])])
    peaks = ", ".join(
        f"{name} {size / 2**20:.0f} MiB" for name, size in result["peak resident, B"].items()
    )
    note = f"The most that was resident, with the bundle that ships: {peaks}."
    return table(["fault", "times", "exit codes", "losses"], rows) + f"\n\n{note}"


def long_run(result: dict[str, Any], table: Table) -> str:
    """What a process holds after a day's work, and by how much it grew."""
    units = {"resident": ("memory", 2**20, " MiB"), "handles": ("open files", 1, "")}
    units |= {"mapped": ("mapped parts of the register", 1, ""), "objects": ("objects", 1, "")}
    rows = []
    for name, (shown, unit, suffix) in units.items():
        found = result[name]
        digits = 1 if unit > 1 else 0
        least, most = (found[f"{end}, last half"] / unit for end in ("least", "most"))
        rows.append(
            [
                shown,
                f"{least:,.{digits}f} to {most:,.{digits}f}{suffix}",
                f"{found['for 1,000 operations']:+,.2f}" + (" B" if unit > 1 else ""),
                f"{found['growth over the last half, %']:+.2f} %",
            ]
        )
    head = ["", "in the last half", "for 1,000 operations", "over the last half"]
    done = ", ".join(f"{number:,} {what}" for what, number in result["done"].items())
    return f"{done}.\n\n" + table(head, rows)
