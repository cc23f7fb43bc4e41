"""The plan to a billion figures: its formulas, its simulations, and where its numbers come from."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SAVED = BENCHMARKS / "results" / "scale_plan_table.json"
ANEW = f"run: python benchmarks/scale_plan.py --out benchmarks/results/{SAVED.name}"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.fixture
def formulas(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("scale_plan_formulas")


@pytest.fixture
def simulation(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("scale_plan_simulation")


@pytest.fixture
def saved() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(SAVED.read_text(encoding="utf-8"))
    return told


# Formulas.


def test_a_line_is_the_one_of_least_squares(formulas: ModuleType) -> None:
    x, y = [1.0, 2.0, 4.0, 7.0], [2.0, 2.5, 6.0, 8.0]
    start, slope = formulas.line(x, y)

    def error(a: float, b: float) -> float:
        return sum((a + b * one - other) ** 2 for one, other in zip(x, y, strict=True))

    steps = [-0.01, 0.0, 0.01]
    assert min(error(start + a, slope + b) for a in steps for b in steps) == error(start, slope)


def test_what_was_measured_is_not_extrapolated(formulas: ModuleType) -> None:
    medians = {1_000: 0.001, 10_000: 0.003, 100_000: 0.004}
    for seconds in (formulas.scan_seconds, formulas.graph_seconds):
        assert [seconds(n, medians) for n in medians] == list(medians.values())


def test_a_scan_grows_as_the_figures_and_a_graph_as_their_logarithm(formulas: ModuleType) -> None:
    assert formulas.scan_seconds(4e6, {10**5: 0.001, 10**6: 0.01}) == pytest.approx(0.04)
    medians = {10**4: 0.002, 10**5: 0.003, 10**6: 0.004}
    assert formulas.graph_seconds(10**8, medians) == pytest.approx(0.006)
    assert formulas.graph_seconds(10, medians) == pytest.approx(0.002)


def test_machines_are_as_many_as_it_takes_one_by_one(formulas: ModuleType) -> None:
    for need in (0, 1, 44, 45, 89.9, 90, 90.1, 1000):
        count = 1
        while count * 64 * 0.7 < need - 1e-6:
            count += 1
        assert formulas.machines(need, 64, 0.7) == count


def test_what_memory_has_no_room_for_is_missed(formulas: ModuleType) -> None:
    assert formulas.missed(50, 64, 27) == pytest.approx(1 - 37 / 50)
    assert formulas.missed(30, 64, 27) == 0.0
    assert formulas.missed(30, 20, 27) == 1.0


def test_the_wait_of_many_servers_is_that_of_erlang(formulas: ModuleType) -> None:
    for servers, rate, service in ((1, 0.5, 1.0), (2, 1.9, 1.0), (16, 300.0, 0.05)):
        load = rate * service
        below = sum(load**n / math.factorial(n) for n in range(servers))
        last = load**servers / math.factorial(servers) * servers / (servers - load)
        wait = last / (below + last) * service / (servers - load)
        assert formulas.mmc_wait(rate, service, servers) == pytest.approx(wait)
    with pytest.raises(ValueError, match="more arrives"):
        formulas.mmc_wait(2.0, 1.0, 2)


def test_work_that_fails_is_done_again_as_long_as_the_formula_says(formulas: ModuleType) -> None:
    rng = np.random.default_rng(0)
    took = []
    for _ in range(4_000):
        total = 0.0
        while (fails := rng.exponential(50.0)) < 30.0:
            total += fails + 5.0
        took.append(total + 30.0)
    assert np.mean(took) == pytest.approx(formulas.redone_seconds(30.0, 50.0, 5.0), rel=0.05)


def test_money_is_that_of_a_bill(formulas: ModuleType) -> None:
    prices = {"core_hour": 0.05, "memory_gb_month": 3.0, "disk_gb_month": 0.1}
    month = formulas.month_price(2, cores=16, memory_gb=64, disk_tb=4, **prices)
    assert month == pytest.approx(2 * (16 * 730 * 0.05 + 64 * 3 + 4000 * 0.1))
    searches = 2.0 * 730 * 3600
    assert formulas.per_million(month, 2.0) == pytest.approx(month / searches * 1e6)
    assert formulas.per_million_busy(0.036, 0.05) == pytest.approx(10 * 0.05)
    assert formulas.copy_hours(3600e6, 500, 2) == pytest.approx(2.0 / 1000)


# Simulations.


def test_a_queue_waits_as_long_as_closed_forms_say(
    simulation: ModuleType, formulas: ModuleType
) -> None:
    rng = np.random.default_rng(0)
    many = 60_000
    for servers, load in ((1, 0.5), (4, 0.65)):
        arrivals = np.cumsum(rng.exponential(1 / (load * servers), many))
        services = rng.exponential(1.0, many)
        waited = float((simulation.queue(arrivals, services, servers) - services).mean())
        assert waited == pytest.approx(formulas.mmc_wait(load * servers, 1.0, servers), rel=0.1)
    arrivals = np.cumsum(rng.exponential(1 / 0.6, many))
    waited = float((simulation.queue(arrivals, np.ones(many), 1) - 1).mean())
    assert waited == pytest.approx(formulas.md1_wait(0.6, 1.0), rel=0.1)


def test_a_queue_is_what_a_slow_one_is(simulation: ModuleType) -> None:
    rng = np.random.default_rng(1)
    arrivals, services = np.cumsum(rng.exponential(1.0, 200)), rng.exponential(2.5, 200)
    ends: list[float] = []
    for came, lasts in zip(arrivals, services, strict=True):
        starts = came
        while sum(end > starts for end in ends) >= 3:  # all three are at work
            starts = min(end for end in ends if end > starts)
        ends.append(starts + lasts)
    assert np.allclose(simulation.queue(arrivals, services, 3), np.array(ends) - arrivals)


def test_a_fleet_of_one_machine_is_a_queue(simulation: ModuleType) -> None:
    rng = np.random.default_rng(2)
    arrivals, services = np.cumsum(rng.exponential(1.0, 500)), rng.exponential(1.5, 500)
    took = simulation.fleet(
        arrivals, np.zeros(500), services[:, None, None], machines=1, cores=2, hop=0.0
    )
    # To prepare takes no time, but waits for a core: the later task goes to the queue's end.
    assert took.mean() >= simulation.queue(arrivals, services, 2).mean()
    idle = simulation.fleet(
        np.arange(5) * 100.0, np.ones(5), np.full((5, 3, 4), 2.0), machines=3, cores=2, hop=0.5
    )
    assert idle.tolist() == [1 + 0.5 + 4.0] * 5  # four pieces on two cores


def test_the_slowest_of_many_shards_is_the_power_of_the_distribution(
    simulation: ModuleType,
) -> None:
    samples = list(np.linspace(0, 1, 1001))
    rng = np.random.default_rng(0)
    took = simulation.fan_out(samples, 10, 20_000, rng)
    assert np.percentile(took, 50) == pytest.approx(0.5**0.1, abs=0.01)
    both = simulation.fan_out(samples, 10, 20_000, rng, copies=2)
    assert np.percentile(both, 50) == pytest.approx(1 - (1 - 0.5**0.1) ** 0.5, abs=0.01)
    heavy = [0.01] * 97 + [1.0] * 3
    plain, hedged = (
        np.percentile(simulation.fan_out(heavy, 10, 5_000, rng, hedged=how), 50)
        for how in (False, True)
    )
    assert (plain, hedged) == (0.01, 0.01)
    plain, hedged = (
        simulation.fan_out(heavy, 10, 5_000, rng, hedged=how).mean() for how in (False, True)
    )
    assert hedged < plain / 5


def test_shards_on_cores_that_are_enough_take_as_long_as_the_slowest(
    simulation: ModuleType,
) -> None:
    rng = np.random.default_rng(0)
    assert simulation.on_cores([2.0], 7, 7, 3, rng).tolist() == [2.0] * 3
    assert simulation.on_cores([2.0], 7, 3, 3, rng).tolist() == [6.0] * 3
    assert simulation.on_cores([2.0], 1, 16, 3, rng).tolist() == [2.0] * 3


def test_the_most_searches_a_second_are_within_the_limit(simulation: ModuleType) -> None:
    def services(many: int, rng: np.random.Generator) -> Any:
        return rng.exponential(0.02, many)

    most = simulation.most_a_second(services, 4, 0.2, searches=4_000)
    assert 100 < most < 200
    assert simulation.p99_at(most, services, 4, 4_000, 0) < 0.2
    assert simulation.p99_at(most * 1.03, services, 4, 4_000, 0) > 0.2


def test_a_job_without_failures_ends_with_its_last_round(simulation: ModuleType) -> None:
    rng = np.random.default_rng(0)
    settings = {"failure": 1e12, "restart": 0.0, "overhead": 0.5, "rng": rng}
    done = simulation.job(np.full(10, 3.0), 4, **settings)
    assert (done.seconds, done.lost, done.wasted) == (3 * 3.5, 0, 0.0)
    assert done.ideal == 10 * 3.0 / 4


def test_a_job_with_failures_loses_no_shard_and_takes_what_the_formula_says(
    simulation: ModuleType, formulas: ModuleType
) -> None:
    rng = np.random.default_rng(3)
    done = simulation.job(
        np.full(3_000, 30.0), 1, failure=200.0, restart=20.0, overhead=0.0, rng=rng
    )
    assert done.seconds == pytest.approx(
        3_000 * formulas.redone_seconds(30.0, 200.0, 20.0), rel=0.05
    )
    assert done.lost == pytest.approx(3_000 * math.expm1(30 / 200), rel=0.15)
    assert done.seconds > 3_000 * 30.0 + done.wasted


# Where the numbers come from.


def test_the_constants_of_the_tables_are_those_of_the_results(
    module: Callable[[str], ModuleType], saved: dict[str, Any]
) -> None:
    now = module("scale_plan_sources").read()
    told = {one["name"]: (one["value"], one["file"], one["key"]) for one in saved["constants"]}
    assert told == {n: (c.value, c.file, c.key) for n, c in now.constants.items()}, ANEW
    assert all((BENCHMARKS / "results" / file).exists() for _, file, _ in told.values())


def test_the_rows_of_the_tables_are_what_the_formulas_give(
    module: Callable[[str], ModuleType], saved: dict[str, Any]
) -> None:
    planned = module("scale_plan_rows")
    now = module("scale_plan_sources").read()
    assumed = module("scale_plan_assumed").Assumed(**saved["assumed"])
    for row in saved["rows"]:
        figures = row["figures"]
        assert row["bytes"] == pytest.approx(planned.size_of(figures, now)), ANEW
        assert row["making"] == pytest.approx(planned.making_of(figures, now, assumed)), ANEW
        for way, told in planned.change_of(figures, now, assumed).items():
            assert row["change"][way] == pytest.approx(told), ANEW


def test_what_is_simulated_or_extrapolated_says_so(
    module: Callable[[str], ModuleType], saved: dict[str, Any]
) -> None:
    tables = module("scale_plan_table").TABLES
    text = {n: " ".join([t.title, *t.head, t.note]) for n, t in ((n, f(saved)) for n, f in tables.items())}  # fmt: skip  # noqa: E501
    for name in ("laptop", "search", "fans", "loads", "pieces"):
        assert "simulated" in text[f"scale_plan_{name}"]
    for name in ("bytes", "making", "change"):
        assert "xtrapolated" in text[f"scale_plan_{name}"]


def test_a_smaller_plan_is_made_from_the_measured_constants_alone(
    module: Callable[[str], ModuleType],
) -> None:
    planned, assumed = module("scale_plan_rows"), module("scale_plan_assumed")
    now = module("scale_plan_sources").read()
    one = assumed.Assumed(cores=4, laptop_cores=2)
    for form in ("exact", "graph"):
        small = planned.search_of(10**5, form, now, one)
        assert small["shard_measured"]
        assert small["shards"] == 1
        assert small["machines"]["with_spare"] == 2
        assert min(now.query) < small["p50"] < small["p99"]
        assert 0 < small["bears"] < one.cores / np.mean(now.query)


def test_numbers_are_said_as_people_say_them(module: Callable[[str], ModuleType]) -> None:
    words = module("scale_plan_words")
    assert [words.size(n) for n in (7, 999.9e3, 5.12e9, 1.0e13)] == ["7 B", "1 MB", "5.12 GB", "10 TB"]  # fmt: skip  # noqa: E501
    assert [words.count(n) for n in (10**5, 10**7, 10**9)] == ["100,000", "10 million", "1 billion"]
    assert [words.hours(n) for n in (0.001, 0.5, 3, 72)] == ["3.6 s", "30 min", "3 h", "3 days"]
    assert words.pair("28 ms", "53 ms") == "28 / 53 ms"
    assert words.pair("1.1 s", "141 ms") == "1.1 s / 141 ms"
    assert [words.money(n, "EUR") for n in (0, 4.5, 465)] == ["< 0.01 EUR", "4.50 EUR", "465 EUR"]


def test_a_result_that_is_missing_is_one_clear_line(
    module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = module("scale_plan")
    monkeypatch.setattr(sys, "argv", ["scale_plan.py", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as missing:
        plan.main()
    assert str(missing.value).startswith(f"error: {tmp_path / 'scale_plan.json'} is missing; ")
    assert "scale_plan.py --measure" in str(missing.value)
    (tmp_path / "scale_plan.json").write_text('{"host": {"cpu": "x"}}', encoding="utf-8")
    with pytest.raises(SystemExit) as lacking:
        plan.main()
    assert "has no register.bytes.vectors" in str(lacking.value)
    assert "\n" not in str(lacking.value)


def test_a_part_that_is_missing_names_its_own_command(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    for file in ("scale_plan", "search", "latency", "serving", "store"):
        text = (BENCHMARKS / "results" / f"{file}.json").read_text(encoding="utf-8")
        told = json.loads(text)
        told.pop("opening", None)
        (tmp_path / f"{file}.json").write_text(json.dumps(told), encoding="utf-8")
    missing = module("scale_plan_constants").MissingResultError
    with pytest.raises(missing, match=r"opening\.rounds.*scale_plan_opening\.py"):
        module("scale_plan_sources").read(tmp_path)
    (tmp_path / "search.json").write_text(json.dumps({"rows": []}), encoding="utf-8")
    with pytest.raises(missing, match=r"search\.json has no .*search\.py WORK"):
        module("scale_plan_sources").read(tmp_path)


@pytest.mark.parametrize("wrong", ["--rate=0", "--rate=-5", "--cores=0", "--fill=2", "--shard=x"])
def test_an_assumption_that_cannot_be_is_refused(
    wrong: str, module: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    module("scale_plan_assumed").add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([wrong])
    assert f"argument {wrong.partition('=')[0]}: " in capsys.readouterr().err
