"""Three questions that are played, not computed: fan-out, a busy machine, the size of a shard."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import scale_plan_formulas as formulas
import scale_plan_simulation as simulation
from scale_plan_assumed import Assumed
from scale_plan_constants import Measured
from scale_plan_rows import designs_samples

FANS = (1, 10, 100, 1000)
LOADS = (0.5, 0.7, 0.8, 0.9, 0.95)
DESIGNS = (20, 50, 100, 200, 500, 1_000, 5_000)
JOBS = ((1_000_000, 24.0), (10_000_000, 24.0), (10_000_000, 1.0))
"""Figures of the jobs whose shards are played, and mean hours until a worker is lost; an hour is
that of machines which somebody else may take away at any time."""

PLAYS = 3
SEARCHES = 20_000


def fans(m: Measured, a: Assumed) -> list[dict[str, Any]]:
    """Return the percentiles of the slowest of many shards, asked in three ways."""
    samples = designs_samples(m, "graph", a.shard)
    rows = []
    for shards in FANS:
        row: dict[str, Any] = {"shards": shards}
        for name, how in (
            ("once", {}), ("hedged", {"hedged": True}), ("two copies", {"copies": 2})
        ):  # fmt: skip
            rng = np.random.default_rng(a.seed)
            took = simulation.fan_out(samples, shards, SEARCHES, rng, **how)  # type: ignore[arg-type]
            took = took + (a.hop_ms / 1e3 + shards * m["join_seconds"] if shards > 1 else 0.0)
            row[name] = [float(np.percentile(took, percent)) for percent in (50, 99)]
        rows.append(row)
    return rows


def loads(m: Measured, a: Assumed) -> list[dict[str, Any]]:
    """Return how long searches take on one machine, by how busy its cores are."""
    rows = []
    for figures, form in ((10**6, "exact"), (10**7, "exact"), (10**7, "graph")):
        samples = designs_samples(m, form, figures)
        mean = statistics.fmean(m.query) + statistics.fmean(samples)
        for load in LOADS:
            rate = load * a.cores / mean
            rng = np.random.default_rng(a.seed)
            arrivals = np.cumsum(rng.exponential(1 / rate, SEARCHES))
            services = simulation.drawn(m.query, SEARCHES, rng)
            services = services + simulation.drawn(samples, SEARCHES, rng)
            took = simulation.queue(arrivals, services, a.cores)
            took = took[int(simulation.WARM * SEARCHES) :]
            p50, p99 = (float(np.percentile(took, percent)) for percent in (50, 99))
            rows.append(
                {"figures": figures, "form": form, "load": load, "rate": rate,
                 "p50": p50, "p99": p99}
            )  # fmt: skip
    return rows


def pieces(m: Measured, a: Assumed) -> list[dict[str, Any]]:
    """Return what the size of a shard of a bulk job costs, played and by the formula."""
    per_design = m["figures_per_design"] / m["figures_per_sheet"] * m["sheet_cpu"]
    rows = []
    for designs in DESIGNS:
        jobs = []
        for figures, hours in JOBS:
            total = figures / m["figures_per_design"]
            played = [
                play(total, designs, per_design, hours, number, m, a) for number in range(PLAYS)
            ]
            job = {
                "figures": figures,
                "hours": hours,
                "longer": statistics.fmean(each.seconds / each.ideal - 1 for each in played),
                "lost": statistics.fmean(each.lost for each in played),
                "formula": formulas.shard_cost(
                    designs, per_design=per_design, overhead=m["shard_cpu"], total=total,
                    workers=a.workers, failure=hours * formulas.HOUR, restart=a.restart_s,
                ),
            }  # fmt: skip
            jobs.append(job)
        rows.append({"designs": designs, "seconds": designs * per_design, "jobs": jobs})
    return rows


def play(
    total: float, designs: int, per_design: float, hours: float, number: int, m: Measured,
    a: Assumed,
) -> simulation.Job:  # fmt: skip
    """Play one job: shards are of equal designs, whose sheets differ as drawings do (a tenth)."""
    rng = np.random.default_rng([a.seed, number])
    count = round(total / designs)
    spread = 0.1 + 0.5 / designs**0.5  # one design differs from the next; the mean of many, less
    lengths = designs * per_design * np.maximum(0.1, rng.normal(1, spread, count))
    return simulation.job(
        lengths, a.workers, failure=hours * formulas.HOUR, restart=a.restart_s,
        overhead=m["shard_cpu"], rng=rng,
    )  # fmt: skip
