"""What stands behind the plan: what was played, what was measured and where, what is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scale_plan_words import Titled, count, hours, milli, pair, size

BENDS = {
    "writer": "the one writer: records and commits",
    "graph": "the graph of one register, on one core",
    "changed": "after each writer: columns anew, the database's checksum",
    "opened": "to open: the columns are checked, by each process",
    "record": "to name the contents, for each record",
    "verify": "to verify everything",
    "merge": "to merge registers into one",
    "push": "to fill a store, by one push",
    "columns": "columns in memory, of each process at least mapped",
    "database": "the database, one file of SQLite",
    "copy": "a copy of the register, on each machine that searches through a store",
}


def bends_of(result: Mapping[str, Any]) -> Titled:
    """What grows until it hurts."""
    shown = [row for row in result["rows"] if row["figures"] >= 10**6]
    rows = []
    for name, what in BENDS.items():
        say = size if name in ("columns", "database", "copy") else hours
        rows.append([what, *(say(row["bends"][name]) for row in shown)])
    return Titled(
        "One register, if nothing is split",
        ["", *(count(row["figures"]) for row in shown)],
        rows,
        "Extrapolated: measured seconds of one core, or bytes, a figure times the figures.",
    )


def fans_of(result: Mapping[str, Any]) -> Titled:
    """Fan-out."""
    a = result["assumed"]
    ways = ("once", "hedged", "two copies")
    rows = [
        [
            str(row["shards"]),
            *(pair(*map(milli, row[way])) for way in ways),
        ]
        for row in result["fans"]
    ]
    return Titled(
        "The slowest of many shards: p50 / p99 (simulated)",
        ["shards", "each asked once", "again after its p95", "each asked twice at once"],
        rows,
        f"Graphs of {count(a['shard'])} figures, one core each, the drawing's preparation left out;"
        f" {a['hop_ms']:g} ms to the shards and back (assumed); joining the answers: measured."
        " No draw is slower than the slowest that was measured. Asking again costs a twentieth"
        " more work, asking twice doubles it.",
    )


def loads_of(result: Mapping[str, Any]) -> Titled:
    """A busy machine."""
    a = result["assumed"]
    rows = [
        [
            count(row["figures"]),
            row["form"],
            f"{row['load']:.0%}",
            f"{row['rate']:,.0f}",
            milli(row["p50"]),
            milli(row["p99"]),
        ]
        for row in result["loads"]
    ]
    served = result["served"]
    return Titled(
        f"One machine of {a['cores']} cores, by how busy it is (simulated)",
        ["figures", "form", "busy", "searches a second", "p50", "p99"],
        rows,
        "Searches come at random; each takes one core, first come, first served. Held against what"
        f" was measured: with {served['clients']:.0f} clients on {served['cores']:.0f} cores"
        f" `edge-ret serve` answered {served['measured']:.0f} requests a second, and"
        f" {served['predicted']:.0f} searches a second of a small register would be the most here.",
    )


def pieces_of(result: Mapping[str, Any]) -> Titled:
    """The size of a shard of a bulk job."""
    a = result["assumed"]
    rows = [
        [
            f"{row['designs']:,}",
            f"{row['seconds']:,.0f} s",
            *(f"{one['longer']:.1%} ({one['formula']:.1%}), {one['lost']:,.0f}"
              for one in row["jobs"]),
        ]
        for row in result["pieces"]
    ]  # fmt: skip
    jobs = [f"{count(one['figures'])}, {one['hours']:g} h" for one in result["pieces"][0]["jobs"]]
    return Titled(
        f"What the size of a shard costs a bulk job on {a['workers']} workers (simulated)",
        ["designs a shard", "one takes", *jobs],
        rows,
        "Head: figures of the job, mean hours until a worker is lost. Cells: how much longer than"
        " the ideal, in which no worker is lost and none waits for the last shard; in brackets the"
        " same by the formula; workers lost. 200 designs is the default of `--shard`.",
    )


def constants_of(result: Mapping[str, Any]) -> Titled:
    """Every measured constant with its file and key."""
    rows = []
    for one in result["constants"]:
        where = f"{one['file'].removesuffix('.json')}: {one['key']}"
        value = f"{one['value']:.4g}"
        rows.append([one["name"], value, one["unit"], where, short(one["cpu"])])
    return Titled(
        "Measured, and where it was read from",
        ["constant", "value", "unit", "file of benchmarks/results: key", "processor"],
        rows,
        "Two processors, both with two cores, and other work beside some of it: seconds are good to"
        " a factor of two, not to a tenth.",
        words=3,
    )


def short(cpu: str) -> str:
    """Return a processor's name, short."""
    return cpu.replace("(R)", "").replace(" Processor", "")


def assumed_of(result: Mapping[str, Any]) -> Titled:
    """Every assumption."""
    rows = [
        ["--" + name.replace("_", "-"), str(value), result["meanings"][name]]
        for name, value in result["assumed"].items()
    ]
    return Titled("Assumed: give your own", ["option", "value", "what it is"], rows, "", words=1)


def store_of(result: Mapping[str, Any]) -> Titled:
    """A store that scales out."""
    values = {one["name"]: one["value"] for one in result["constants"]}
    rows = [
        [
            count(row["figures"]),
            size(row["store"]["memory"]),
            size(row["store"]["disk"]),
            str(row["store"]["machines"]),
            hours(row["store"]["fill_hours"]),
        ]
        for row in result["rows"]
    ]
    return Titled(
        "A Milvus beside the register",
        ["figures", "its memory", "its disk", "machines for its memory", "to fill, one push"],
        rows,
        "Extrapolated from 20,000 and 120,000 made figures in one server of 2.3.5:"
        f" {values['milvus_memory_bytes']:,.0f} B of memory a figure, of which a graph over all"
        f" 128 numbers is {values['milvus_graph_bytes']:,.0f} B, and"
        f" {values['milvus_disk_bytes']:,.0f} B of disk, its logs among them. A search of 50,000"
        f" took {milli(values['milvus_all'])}, within a class of 30"
        f" {milli(values['milvus_class'])} (p50, measured, one machine of two cores); larger ones,"
        " and a cluster, were not measured.",
    )
