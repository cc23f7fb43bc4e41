"""The plan, a row for each number of figures: constants put through the formulas, and simulated."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import scale_plan_formulas as formulas
import scale_plan_simulation as simulation
from numpy.typing import NDArray
from scale_plan_assumed import Assumed
from scale_plan_constants import Measured

SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)
LONE = 10_000  # searches of which the percentiles of a lone one are taken
GRAPH_SCORED, GRAPH_MEASURED = 160, 40
"""Candidates that a graph's search scores in full: for ten designs, and for ten figures, as it was
measured; see `index.graph.HnswIndex`."""

SECONDS = {"exact": formulas.scan_seconds, "graph": formulas.graph_seconds}
WAY = {"exact": "pass", "graph": "graph"}


def size_of(figures: int, m: Measured) -> dict[str, float]:
    """Return bytes: measured bytes a figure times the figures."""
    each = {
        "vectors": m["vectors_bytes"],
        "pass": m["pass_bytes"],
        "graph": m["graph_bytes"],
        "pictures": m["pictures_bytes"],
        "records": m["database_bytes"] + m["columns_bytes"],
    }
    each["all"] = sum(each.values())
    return {name: figures * size for name, size in each.items()}


def medians(m: Measured, form: str) -> dict[int, float]:
    """Return the median seconds of a search, by the figures that were searched."""
    ways = m.ways[WAY[form]]
    return {count: statistics.median(samples) for count, samples in ways.seconds.items()}


def shard_samples(m: Measured, form: str, figures: float) -> list[float]:
    """Return raw samples of a search of one shard; of another size than measured: scaled."""
    seconds = m.ways[WAY[form]].seconds
    if (measured := seconds.get(int(figures))) is not None:
        return measured
    nearest = max((n for n in seconds if n <= figures), default=min(seconds))
    found = medians(m, form)
    scale = SECONDS[form](figures, found) / found[nearest]
    return [scale * sample for sample in seconds[nearest]]


def is_measured(m: Measured, form: str, figures: float) -> bool:
    """Tell whether a shard of this size was searched itself."""
    return int(figures) in m.ways[WAY[form]].seconds


def search_of(figures: int, form: str, m: Measured, a: Assumed) -> dict[str, Any]:
    """Return what searching costs: memory, machines, seconds, money.

    Memory must hold what a search touches of every figure: pass or graph, and the columns. Vectors
    are read by their place, from memory where there is room left, else from the disk; pictures lie
    on the disk.
    """
    count = formulas.shards(figures, a.shard)
    samples = designs_samples(m, form, figures / count)
    size = size_of(figures, m)
    memory = size[WAY[form]] + figures * m["columns_bytes"]
    processes = a.cores * m["process_bytes"]
    room = a.memory_gb * formulas.GB - processes / a.fill
    for_memory = formulas.machines(memory, room, a.fill)
    for_disk = formulas.machines(size["all"], a.disk_tb * formulas.TB, a.fill)
    index = count * statistics.fmean(samples)
    busy = statistics.fmean(m.query) + index + count * m["join_seconds"]
    for_rate = formulas.machines(a.rate * busy, a.cores, a.fill)
    used = max(for_memory, for_disk, for_rate)
    miss = formulas.missed(
        size["vectors"], used * a.memory_gb * formulas.GB, memory + used * processes
    )
    scored = GRAPH_SCORED if form == "graph" else m["pass_scored"]
    waits = scored * miss * a.disk_read_us / 1e6
    whole = [sample + waits for sample in samples]
    month = formulas.month_price(
        used + 1, cores=a.cores, memory_gb=a.memory_gb, disk_tb=a.disk_tb, core_hour=a.core_hour,
        memory_gb_month=a.memory_gb_month, disk_gb_month=a.disk_gb_month,
    )  # fmt: skip
    lone = lone_search(m, whole, count, used, a)
    return {
        "form": form,
        "shards": count,
        "shard_measured": is_measured(m, form, figures / count),
        "memory": memory,
        "machines": {"memory": for_memory, "disk": for_disk, "rate": for_rate,
                     "with_spare": used + 1},
        "index_cpu": index,
        "search_cpu": busy,
        "from_disk": miss,
        "p50": float(np.percentile(lone, 50)),
        "p99": float(np.percentile(lone, 99)),
        "bears": bears(m, whole, count, used, a),
        "month": month,
        "per_million": formulas.per_million(month, a.rate * a.mean_share),
        "per_million_busy": formulas.per_million_busy(busy, a.core_hour),
    }  # fmt: skip


def designs_samples(m: Measured, form: str, figures: float) -> list[float]:
    """Return samples of a search of one shard for ten designs.

    What was measured asks the graph for figures; for designs it scores more of them.
    """
    more = (GRAPH_SCORED - GRAPH_MEASURED) * m["rescore_seconds"] if form == "graph" else 0.0
    return [sample + more for sample in shard_samples(m, form, figures)]


def lone_search(
    m: Measured, samples: list[float], count: int, machines: int, a: Assumed
) -> NDArray[np.float64]:
    """Return simulated seconds of searches that nobody disturbs, preparing the drawing included."""
    rng = np.random.default_rng(a.seed)
    took = simulation.drawn(m.query, LONE, rng)
    slowest = np.zeros(LONE)
    for machine in range(min(machines, count)):
        own = (count - machine - 1) // machines + 1  # dealt out in turn
        slowest = np.maximum(slowest, simulation.on_cores(samples, own, a.cores, LONE, rng))
    several = (a.hop_ms / 1e3 + count * m["join_seconds"]) if count > 1 else 0.0
    return took + slowest + several


def bears(m: Measured, samples: list[float], count: int, machines: int, a: Assumed) -> float:
    """Return the most searches a second of all machines within the limit, simulated."""
    if count == 1:

        def services(searches: int, rng: np.random.Generator) -> NDArray[np.float64]:
            return simulation.drawn(m.query, searches, rng) + simulation.drawn(
                samples, searches, rng
            )

        one = simulation.most_a_second(services, a.cores, a.p99_s, seed=a.seed)
        return one * machines
    return fleet_bears(m, samples, count, machines, a)


def fleet_bears(m: Measured, samples: list[float], count: int, machines: int, a: Assumed) -> float:
    """Return the same of machines that hold a part of the shards each; the shards dealt evenly."""
    own = count / machines
    lanes = max(1, round(min(a.cores, own)))
    searches = max(1_000, min(6_000, 150_000 // (machines * lanes)))

    def p99(rate: float) -> float:
        rng = np.random.default_rng(a.seed)
        arrivals = np.cumsum(rng.exponential(1 / rate, searches))
        tasks = simulation.drawn(samples, (searches, machines, lanes), rng) * (own / lanes)
        first = simulation.drawn(m.query, searches, rng)
        took = simulation.fleet(
            arrivals, first, tasks, machines=machines, cores=a.cores, hop=a.hop_ms / 1e3
        )
        return float(np.percentile(took[int(simulation.WARM * searches) :], 99))

    busy = statistics.fmean(m.query) + count * statistics.fmean(samples)
    low, high = 0.0, machines * a.cores / busy
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if p99(middle) < a.p99_s else (low, middle)
    return low


def making_of(figures: int, m: Measured, a: Assumed) -> dict[str, float]:
    """Return what it takes to make the register, the pass and the graph, from sheets."""
    count = formulas.shards(figures, a.shard)
    sheets = figures / m["figures_per_sheet"]
    embed = formulas.core_hours(sheets, m["sheet_cpu"])
    caches = formulas.core_hours(figures, m["pass_build_cpu"] + m["graph_build_cpu"])
    writer = formulas.core_hours(figures, m["writer_cpu"])
    work = embed + caches + writer
    graph = formulas.core_hours(figures / count, m["graph_build_cpu"])
    pictures = formulas.core_hours(figures, m["picture_cpu"])
    projected = formulas.core_hours(figures, m["projection_cpu"])
    return {
        "sheets": sheets,
        "laptop_pictures": pictures / a.laptop_cores + graph,
        "laptop_projected": projected / a.laptop_cores + graph,
        "embed": embed,
        "caches": caches,
        "writer": writer,
        "core_hours": work,
        "laptop": formulas.wall_hours(embed, a.laptop_cores, least=writer) + graph,
        "one_writer": formulas.wall_hours(embed, a.workers, least=writer) + graph,
        "writer_a_shard": formulas.wall_hours(embed, a.workers, least=writer / count) + graph,
        "cost": work * a.core_hour,
    }


def change_of(figures: int, m: Measured, a: Assumed) -> dict[str, dict[str, float]]:
    """Return what it takes to have all vectors in the space of another model, in three ways."""
    count = formulas.shards(figures, a.shard)
    machines = formulas.machines(size_of(figures, m)["all"], a.disk_tb * formulas.TB, a.fill)
    graph = formulas.core_hours(figures, m["pass_build_cpu"] + m["graph_build_cpu"])
    work = {
        "sheets": formulas.core_hours(figures / m["figures_per_sheet"], m["sheet_cpu"]),
        "pictures": formulas.core_hours(figures, m["picture_cpu"]),
        "projection": formulas.core_hours(figures, m["projection_cpu"]),
    }
    copied = formulas.copy_hours(figures * m["vectors_bytes"], a.disk_mb_s, machines)
    ways = {}
    for way, hours in work.items():
        cores = machines * a.cores if way == "projection" else a.workers
        least = copied if way == "projection" else 0.0
        ways[way] = {
            "core_hours": hours,
            "graph": graph,
            "hours": formulas.wall_hours(hours, cores, least=least),
            "graph_hours": graph / count,
            "cost": (hours + graph) * a.core_hour,
        }
    return ways


def store_of(figures: int, m: Measured, a: Assumed) -> dict[str, float]:
    """Return what a store takes that holds all vectors, beside the register."""
    memory = figures * m["milvus_memory_bytes"]
    return {
        "memory": memory,
        "disk": figures * m["milvus_disk_bytes"],
        "machines": formulas.machines(memory, a.memory_gb * formulas.GB, a.fill),
        "fill_hours": formulas.core_hours(figures, m["milvus_push"]),
    }


def bends_of(figures: int, m: Measured) -> dict[str, float]:
    """Return what grows until it hurts, if nothing is split: hours, and bytes."""

    def work(*names: str) -> float:
        return formulas.core_hours(figures, sum(m[name] for name in names))

    return {
        "writer": work("writer_cpu"),
        "graph": work("graph_build_cpu"),
        "opened": work("columns_loaded_cpu"),
        "columns": figures * m["columns_bytes"],
        "changed": work("columns_made_cpu", "columns_loaded_cpu", "database_crc_cpu"),
        "record": work("contents_cpu"),
        "verify": work("verify_cpu"),
        "merge": work("merge_seconds"),
        "push": work("milvus_push"),
        "database": figures * m["database_bytes"],
        "copy": size_of(figures, m)["all"],
    }
