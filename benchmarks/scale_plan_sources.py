"""Which numbers the plan takes from which results, and how."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from scale_plan_constants import RESULTS, Measured, Reader, Ways
from scale_plan_formulas import line

PASS, GRAPH = "**edge-retrieval, first pass** (exact)", "**edge-retrieval, graph**"
LIKE_MILVUS = "hnswlib M16, ef 64"
"""A graph of all numbers with the M that our collections in Milvus have: the memory of theirs."""

FILTERS = {"no filter": "milvus_all", "one class of 30": "milvus_class"}


def read(folder: Path = RESULTS) -> Measured:
    """Read everything that the plan is made from.

    Raises:
        MissingResultError: Something was not measured.
    """
    reader = Reader(folder)
    _bytes(reader)
    _work(reader)
    ways = _ways(reader)
    query = _query(reader)
    _store(reader)
    _opening(reader)
    _scored(reader)
    return Measured(reader.found, ways, query)


def _bytes(reader: Reader) -> None:
    for name in ("vectors", "pictures", "database", "columns"):
        reader.take(
            f"{name}_bytes", "B a figure", "scale_plan", f"register.bytes.{name} / figures",
            lambda told, name=name: told["register"]["bytes"][name] / told["register"]["figures"],
        )  # fmt: skip
    for name in ("designs", "sheets"):
        reader.take(
            f"figures_per_{name[:-1]}", "", "scale_plan", f"register.figures / {name}",
            lambda told, name=name: told["register"]["figures"] / told["register"][name],
        )  # fmt: skip
    for name, way in (("pass", PASS), ("graph", GRAPH)):
        reader.take(
            f"{name}_bytes", "B a figure", "search", f"rows[1M, {name}, all].bytes / count",
            lambda told, way=way: row(told, "1M", way)["bytes"] / row(told, "1M", way)["count"],
        )  # fmt: skip


def _scored(reader: Reader) -> None:
    reader.take(
        "pass_scored", "vectors a search", "scale_plan", "large.pass.compared",
        lambda told: told["large"]["pass"]["compared"],
    )  # fmt: skip


def _opening(reader: Reader) -> None:
    for name in ("columns_made", "columns_loaded", "contents", "database_crc", "verify"):
        reader.take(
            f"{name}_cpu", "s CPU a figure", "scale_plan", f"opening.rounds[].{name} / figures",
            lambda told, name=name: statistics.median(
                each[name] / told["opening"]["figures"] for each in told["opening"]["rounds"]),
        )  # fmt: skip


def _store(reader: Reader) -> None:
    def server(told: Any) -> Any:
        return next(
            one for one in told["results"].values() if one.get("server", "").startswith("Milvus ")
        )

    for search, name in FILTERS.items():
        reader.take(
            name, "s a search of 50,000", "store", f"results[Milvus].searches[{search}].p50",
            lambda told, search=search: server(told)["searches"][search]["p50"],
        )  # fmt: skip
    reader.take(
        "milvus_push", "s a figure", "store", "results[Milvus].push_seconds / pushed",
        lambda told: server(told)["push_seconds"] / server(told)["pushed"],
    )  # fmt: skip
    reader.take(
        "milvus_graph_bytes", "B a figure", "search", f"rows[1M, {LIKE_MILVUS}].bytes / count",
        lambda told: row(told, "1M", LIKE_MILVUS)["bytes"] / row(told, "1M", LIKE_MILVUS)["count"],
    )  # fmt: skip
    for name, kind in (("milvus_disk_bytes", "disk"), ("milvus_memory_bytes", "memory")):
        reader.take(
            name, "B a figure", "scale_plan", f"store[Milvus].after.{kind} over figures, slope",
            lambda told, kind=kind: line(*zip(*[
                (r["figures"], r["after"][kind] - r["before"][kind])
                for r in told["store"] if r["server"].startswith("Milvus ")
            ], strict=True))[1],
        )  # fmt: skip


def row(told: Any, size: str, name: str) -> Any:
    """Return the row of search.json of a set and a contestant, all figures searched."""
    wanted = (size, name, "all")
    return next(r for r in told["rows"] if (r["set"], r["name"], r["among"]) == wanted)


def median_of(rows: list[Any], cost: str, per: str) -> float:
    """Return the median over rounds of a cost for each of what was done."""
    return statistics.median(each[cost] / each[per] for each in rows)


def _work(reader: Reader) -> None:
    for name, key, cost, per in (
        ("sheet_cpu", "from_sheets", "cpu", "sheets"),
        ("tiff_cpu", "from_tiffs", "cpu", "sheets"),
        ("picture_cpu", "from_pictures", "cpu", "figures"),
        ("projection_cpu", "projection", "cpu", "vectors"),
        ("merge_seconds", "merge", "seconds", "figures"),
        ("writer_cpu", "spread", "writer_cpu", "figures"),
    ):
        unit = f"s {'CPU ' if cost.endswith('cpu') else ''}a {per[:-1]}"
        reader.take(
            name, unit, "scale_plan", f"{key}[].{cost} / {per}, median",
            lambda told, key=key, cost=cost, per=per: median_of(told[key], cost, per),
        )  # fmt: skip
    reader.take(
        "shard_cpu", "s CPU a shard", "scale_plan", "spread[].workers_cpu over shards, slope or 0",
        lambda told: max(0.0, line([r["shards"] for r in told["spread"]],
                                   [r["workers_cpu"] for r in told["spread"]])[1]),
    )  # fmt: skip
    reader.take(
        "rescore_seconds", "s a candidate", "scale_plan", "rescore[256].samples / 256, median",
        lambda told: statistics.median(
            s / 256 for r in told["rescore"] if r["candidates"] == 256 for s in r["samples"]),
    )  # fmt: skip
    reader.take(
        "join_seconds", "s a list of 10", "scale_plan", "join[100].samples / 100, median",
        lambda told: statistics.median(
            s / 100 for r in told["join"] if r["lists"] == 100 for s in r["samples"]),
    )  # fmt: skip
    reader.take(
        "picture_cosine", "", "scale_plan", "from_pictures[].cosine.mean, median",
        lambda told: statistics.median(r["cosine"]["mean"] for r in told["from_pictures"]),
    )  # fmt: skip
    reader.take(
        "picture_least", "", "scale_plan", "from_pictures[].cosine.least, least",
        lambda told: min(r["cosine"]["least"] for r in told["from_pictures"]),
    )  # fmt: skip
    reader.take(
        "picture_overlap", "", "scale_plan", "from_pictures[].overlap@10, median",
        lambda told: statistics.median(r["overlap@10"] for r in told["from_pictures"]),
    )  # fmt: skip


def _ways(reader: Reader) -> dict[str, Ways]:
    found = {}
    told = reader.file("search")
    large = reader.file("scale_plan").get("large", {})
    for name, way in (("pass", PASS), ("graph", GRAPH)):
        try:
            rows = {size: row(told, size, way) for size in ("20k", "100k", "1M")}
        except (LookupError, StopIteration) as error:
            raise reader.lacking("search", f"rows of {name}: 20k, 100k, 1M") from error
        seconds = {each["count"]: each["cpu"] for each in rows.values()}
        overlap = statistics.fmean(rows["1M"]["overlap"])
        key, file = f"rows[1M, {name}, all].", "search"
        top = rows["1M"]
        if name in large:
            top = {"count": large["count"], **large[name]}
            seconds[large["count"]] = top["cpu"]
            overlap = statistics.fmean(top["overlap"])
            key, file = f"large.{name}.", "scale_plan"
        size = f"{top['count']:,}"
        for count, samples in seconds.items():
            where = "scale_plan" if name in large and count == large["count"] else "search"
            reader.take(
                f"{name}_search_{count}", f"s, of {count:,}", where,
                f"{'large' if where == 'scale_plan' else 'rows[]'}.{name}.cpu, median",
                lambda _, samples=samples: statistics.median(samples),
            )  # fmt: skip
        reader.take(
            f"{name}_build_cpu", "s CPU a figure", file, f"{key}build_cpu / {size}",
            lambda _, top=top: top["build_cpu"] / top["count"],
        )  # fmt: skip
        reader.take(f"{name}_overlap", "", file, f"{key}overlap, mean", lambda _, o=overlap: o)
        found[name] = Ways(dict(sorted(seconds.items())), overlap)
    return found


def _query(reader: Reader) -> list[float]:
    def samples(told: Any) -> list[float]:
        return next(  # type: ignore[no-any-return]
            m["samples"]
            for m in told["measurements"]
            if m["name"] == "latency"
            and m["labels"].get("stage") == "total"
            and m["labels"].get("backend") == "onnx"
        )

    reader.take(
        "query_seconds", "s a search of a small register", "latency",
        "measurements[latency, total, onnx].samples, median",
        lambda told: statistics.median(samples(told)),
    )  # fmt: skip
    reader.take(
        "process_bytes", "B a searching process", "latency", "measurements[memory, whole, pss]",
        lambda told: sum(statistics.median(m["samples"]) for m in told["measurements"]
                         if m["name"] == "memory" and m["labels"]["kind"] == "pss"),
    )  # fmt: skip
    for name, key, value in (
        ("served", "all requests / seconds",
         lambda told: sum(r["n"] for r in told["requests"].values()) / told["seconds"]),
        ("served_cores", "host.cores", lambda told: told["host"]["cores"]),
        ("served_clients", "clients", lambda told: told["clients"]),
    ):  # fmt: skip
        reader.take(name, "a second" if name == "served" else "", "serving", key, value)
    return samples(reader.file("latency"))
