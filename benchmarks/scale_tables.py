"""Tables of what was tried beyond one machine: scale_index.py and setups.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]


def scale_index(result: dict[str, Any], table: Table) -> str:
    """Registers that workers made, against that of one machine."""
    rows = []
    for row in result["rows"]:
        same = row["same"]
        verdict = "" if same is None else "all equal" if all(same.values()) else _unequal(same)
        killed = row["killed"]
        way = row["way"] + (f": after {killed['shards_done']} shards" if killed else "")
        many = f"{row['designs']:,} / {row['figures']:,} / {row['problems']:,}"
        rows.append([row["source"], way, many, f"{row['seconds']:,.0f} s", verdict])
    head = ["source", "by", "designs / figures / problems", "took", "against one machine"]
    shards = {row["shard"] for row in result["rows"]} - {None}
    note = (
        f"{result['engine']}, {' or '.join(map(str, sorted(shards)))} designs a shard; Dask"
        f" {result['versions']['distributed']}. Compared: vectors bit for bit, pictures, rows of"
        " all tables, problems, the name of the contents and of the snapshot, and both verified."
        f" {result['host']['cpu']}, {result['cores']} cores, which others used, too: times tell"
        " that it works, not how fast."
    )
    return table(head, rows) + "\n\n" + note


def _unequal(same: dict[str, bool]) -> str:
    return "differ: " + ", ".join(name for name, equal in same.items() if not equal)


def setups(result: dict[str, Any], table: Table) -> str:
    """The commands of docs/scale.md, in their order."""
    rows = []
    for name, commands in result["setups"].items():
        if isinstance(commands, str):
            rows.append([name, "", commands])
            continue
        for row in commands:
            verdict = ("ended well" if row["ok"] else "**failed**") if row["tried"] else "not tried"
            if row["tried"] and row.get("stays"):
                verdict = "answered" if row["ok"] else "**failed**"
            where = ", ".join(row["machines"])
            took = f", {row['seconds']:.0f} s" if row["tried"] and not row.get("stays") else ""
            rows.append([f"{name} ({where})", f"`{row['command']}`", verdict + took])
    same = result["registers against that of the laptop"]
    equal = [name for name, parts in same.items() if all(parts.values())]
    unequal = [f"{name}: {_unequal(parts)}" for name, parts in same.items() if name not in equal]
    note = (
        f"Registers equal to that of the laptop, row for row: {', '.join(equal) or 'none'}"
        f"{'; ' + '; '.join(unequal) if unequal else ''}. The store: {result['milvus']}. Training"
        f" was cut short with `{result['short']}`."
    )
    told = table(["on", "command", "came to"], rows).replace("---:", "---")  # all of it is text
    return f"{told}\n\n{note}"
