"""The benchmark of the server asks what it says, and counts right."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("serving")


def test_growth_is_that_of_the_last_half(benchmark: ModuleType) -> None:
    held = [
        [second, size] for second, size in enumerate([1, 50, 90, 99, 100, 100, 100, 110, 120, 120])
    ]
    assert benchmark.growth(held) == {"bytes": 20.0, "share": 0.2}
    assert benchmark.growth([[0, 7]]) == {"bytes": 0.0, "share": 0.0}


def test_percentiles_and_rate_are_those_of_the_samples(benchmark: ModuleType) -> None:
    told = benchmark.summary([i / 100 for i in range(101)], 10.0)
    assert told == {"n": 101, "p50": 0.5, "p95": 0.95, "p99": 0.99, "per_second": 10.1}


def test_a_short_queue_refuses_and_says_when_to_come_again(
    benchmark: ModuleType, folder: Path
) -> None:
    with benchmark.serving(folder, "--workers", "1", "--queue", "0") as (process, address):
        seen, held, _ = benchmark.crowd(address, 6, 0.5, process=process)
    assert seen.errors == []
    assert seen.untold == 0
    assert seen.statuses["drawing 200"] > 0
    assert len(seen.refused) == sum(
        count for status, count in seen.statuses.items() if status.endswith("503")
    )
    assert len(held) >= 1
