"""The few numbers by which devices are compared and floors are held, taken from a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge_retrieval.report import Label, Measurement, Report


class Headline(NamedTuple):
    """One number of a report.

    Attributes:
        told: What people call it.
        unit: Of the number.
        value: Takes it from a report; None where it was not measured.
    """

    told: str
    unit: str
    value: Callable[[Report], float | None]


def own(report: Report, name: str, **labels: Label) -> list[Measurement]:
    """Return the measurements of a name that are of the report's first contestant."""
    keys = ("bundle", "precision", "backend")
    wanted = {key: report.settings[key] for key in keys if key in report.settings}
    return report.find(name, **wanted, **labels)


def total(percent: float) -> Callable[[Report], float | None]:
    """Return what takes a percentile of whole searches."""

    def value(report: Report) -> float | None:
        found = own(report, "latency", stage="total")
        return found[0].percentile(percent) if found else None

    return value


def quality(metric: str) -> Callable[[Report], float | None]:
    """Return what takes a share."""

    def value(report: Report) -> float | None:
        found = own(report, "quality", metric=metric)
        return found[0].median if found else None

    return value


def median(name: str, **labels: Label) -> Callable[[Report], float | None]:
    """Return what takes the median of a measurement."""

    def value(report: Report) -> float | None:
        found = report.find(name, **labels)
        return found[0].median if found else None

    return value


def embed(report: Report) -> float | None:
    """Return the median of embedding one drawing."""
    found = own(report, "latency", stage="embed")
    return found[0].median if found else None


def throughput(report: Report) -> float | None:
    """Return the highest median of all threads and batches."""
    return max((one.median for one in own(report, "throughput")), default=None)


def peak(report: Report) -> float | None:
    """Return the most that a process held which searched once."""
    return max((one.p50 for one in report.find("memory", kind="peak")), default=None)


def joules(report: Report) -> float | None:
    """Return the median of what a search used, all packages together."""
    found = own(report, "energy")
    return sum(one.median for one in found) if found else None


def growth(figures: int) -> Callable[[Report], float | None]:
    """Return what takes the median of a query among so many, as a register does it."""
    return median("search_cost", figures=figures, index="first pass")


HEADLINES = (
    Headline("cold start of a search", "s", median("cold_start", what="search")),
    Headline("search, p50", "s", total(50)),
    Headline("search, p90", "s", total(90)),
    Headline("search, p99", "s", total(99)),
    Headline("embedding a drawing, p50", "s", embed),
    Headline("figures embedded a second, at most", "1/s", throughput),
    Headline("peak memory", "B", peak),
    Headline("query among 10,000, p50", "s", growth(10_000)),
    Headline("query among 100,000, p50", "s", growth(100_000)),
    Headline("query among 1,000,000, p50", "s", growth(1_000_000)),
    Headline("energy of a search", "J", joules),
    Headline("mAP", "1", quality("mAP")),
    Headline("hit_rate@1", "1", quality("hit_rate@1")),
    Headline("hit_rate@5", "1", quality("hit_rate@5")),
    Headline("recall@10", "1", quality("recall@10")),
)


def device_name(report: Report) -> str:
    """Return the board if the machine is one, else its processor."""
    return str(report.host.get("board") or report.host.get("cpu") or "unknown machine")
