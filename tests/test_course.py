"""How long a part runs, and how a bench knows that its machine was busy: with made clocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_retrieval.bench import course as module
from edge_retrieval.bench import sensors
from edge_retrieval.bench.course import Course, what_was_busy
from edge_retrieval.report import Measurement
from tests.test_host import CPU, written


class Clock:
    """A clock that moves by itself a little, and as told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def course(clock: Clock, tmp_path: Path) -> Course:
    return Course(clock=clock, root=tmp_path)


def spent(course: Course, clock: Clock, seconds: float, *limits: float) -> list[int]:
    """Return the rounds that take so many seconds each."""
    budget, least, most = limits
    numbers = []
    for number in course.rounds("x", budget, int(least), int(most)):
        clock.now += seconds
        numbers.append(number)
    return numbers


@pytest.mark.parametrize(
    ("seconds", "limits", "many"),
    [
        (1.0, (10, 3, 50), 10),
        (100.0, (10, 3, 50), 3),
        (0.01, (10, 3, 50), 50),
        (9.0, (10, 1, 9), 2),
    ],
)
def test_rounds_end_with_their_budget_but_never_before_the_least(
    course: Course, clock: Clock, seconds: float, limits: tuple[float, ...], many: int
) -> None:
    assert spent(course, clock, seconds, *limits) == list(range(many))


def test_the_reference_is_taken_between_rounds_and_not_too_often(
    course: Course, clock: Clock
) -> None:
    spent(course, clock, 0.01, 100, 1, 200)  # 2 s and a little
    [reference] = course.measurements()
    assert reference.name == "noise.reference"
    assert 5 <= reference.n <= 12
    assert reference.at == tuple(sorted(reference.at))


def stat(busy: int) -> str:
    return f"cpu {busy} 0 0 9 9 0 0 0 0 0\n"


def test_the_time_of_other_processes_is_that_of_all_less_its_own(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(module.os, "sysconf", lambda _: 100)
    own = iter([10.0, 11.0])
    monkeypatch.setattr(module.os, "times", lambda: (next(own), 0.0, 0.0, 0.0, 0.0))
    written(tmp_path, {"proc/stat": stat(1000)})
    course = Course(clock=clock, root=tmp_path)
    clock.now += 4.0  # 8 seconds of two cores
    written(tmp_path, {"proc/stat": stat(1500)})  # 5 s, 1 of them our own
    course.listen()
    others = {one.name: one for one in course.measurements()}["noise.others"]
    assert others.samples[0] == pytest.approx(0.5, abs=0.01)


def quiet() -> dict[str, Measurement]:
    return {
        "noise.reference": Measurement("noise.reference", "s", (1.0, 1.01, 1.02, 1.1)),
        "noise.others": Measurement("noise.others", "1", (0.01, 0.03)),
    }


def test_a_quiet_machine_is_not_called_busy() -> None:
    assert what_was_busy(quiet(), 0.2, 4) is None
    assert what_was_busy({}, None, 4) is None


@pytest.mark.parametrize(
    ("noise", "load", "numbers"),
    [
        ({"noise.reference": Measurement("noise.reference", "s", (1, 1, 1, 2, 2))}, 0.1, "2.00"),
        ({"noise.others": Measurement("noise.others", "1", (0.2, 0.4))}, 0.1, "30%"),
        ({}, 3.9, "load was 3.9 on 4 cores"),
    ],
)
def test_a_busy_machine_is_named_with_the_numbers_that_tell_it(
    noise: dict[str, Measurement], load: float, numbers: str
) -> None:
    told = what_was_busy(quiet() | noise, load, 4)
    assert told is not None
    assert told.startswith("the machine was busy: ")
    assert numbers in told


@pytest.mark.parametrize("slow", [0.2, 0.5, 0.6, 0.85])
def test_a_device_that_was_slow_for_any_part_of_the_bench_is_called_busy(slow: float) -> None:
    samples = tuple(1.0 if i >= 100 * slow else 2.0 for i in range(100))
    noise = {"noise.reference": Measurement("noise.reference", "s", samples)}
    assert what_was_busy(noise, None, 4) is not None


def test_cores_that_we_may_not_use_do_not_count(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {1, 3}, raising=False)
    monkeypatch.setattr(module.os, "sysconf", lambda _: 100)
    monkeypatch.setattr(module.os, "times", lambda: (0.0, 0.0, 0.0, 0.0, 0.0))
    lines = "cpu {0} 0 0 9 9 0 0 0 0 0\n" + "".join(
        f"cpu{core} {{{core}}} 0 0 7 0 0 0 0 0 0\n" for core in range(4)
    )
    written(tmp_path, {"proc/stat": lines.format(100, 10, 20, 30)})
    course = Course(clock=clock, root=tmp_path)
    clock.now += 4.0
    written(tmp_path, {"proc/stat": lines.format(900, 410, 420, 430)})  # ours: 4 s of 4, each
    course.listen()
    others = {one.name: one for one in course.measurements()}["noise.others"]
    assert others.samples[0] == pytest.approx(1.0, abs=0.01)
    assert sensors.busy_seconds(tmp_path, (0,)) == pytest.approx(9.0)
    assert sensors.busy_seconds(tmp_path, (8,)) is None


def test_a_share_counts_by_how_long_it_stands_for() -> None:
    shares = Measurement("noise.others", "1", (0.9, 0.1), at=(1.0, 10.0))
    assert module.mean_in_time(shares) == pytest.approx((0.9 * 1 + 0.1 * 9) / 10)
    assert module.mean_in_time(Measurement("x", "1", (0.9, 0.1))) == pytest.approx(0.5)


def test_a_note_is_kept_once(course: Course) -> None:
    course.note("a")
    course.note("b")
    course.note("a")
    assert course.notes == ["a", "b"]


# ------------------------------------------------------------------ sensors


def test_the_hottest_sensor_of_the_processor_is_read(tmp_path: Path) -> None:
    thermal = "sys/class/thermal/thermal_zone{}/{}"
    for number, (name, heat) in enumerate([("acpitz", 90_000), ("cpu-thermal", 61_250)]):
        written(tmp_path, {thermal.format(number, "type"): name})
        written(tmp_path, {thermal.format(number, "temp"): f"{heat}\n"})
    assert sensors.temperature(tmp_path) == ("cpu-thermal", 61.25)
    written(tmp_path, {"sys/class/hwmon/hwmon0/name": "k10temp"})
    written(tmp_path, {"sys/class/hwmon/hwmon0/temp1_input": "70500"})
    assert sensors.temperature(tmp_path) == ("k10temp", 70.5)
    written(tmp_path, {"sys/class/hwmon/hwmon0/temp2_input": "999999"})  # not connected
    assert sensors.temperature(tmp_path) == ("k10temp", 70.5)


def test_the_clock_is_the_mean_of_the_cores_in_hertz(tmp_path: Path) -> None:
    for core, kilohertz in enumerate((1_000_000, 2_000_000)):
        written(tmp_path, {f"{CPU}/cpu{core}/cpufreq/scaling_cur_freq": f"{kilohertz}\n"})
    assert sensors.clock(tmp_path) == 1.5e9


def test_a_machine_without_cpufreq_tells_its_clock_in_cpuinfo(tmp_path: Path) -> None:
    written(tmp_path, {"proc/cpuinfo": "cpu MHz\t\t: 2000.0\n\ncpu MHz\t\t: 2200.0\n"})
    assert sensors.clock(tmp_path) == pytest.approx(2.1e9)


def test_throttling_is_counted(tmp_path: Path) -> None:
    for core in range(2):
        written(tmp_path, {f"{CPU}/cpu{core}/thermal_throttle/core_throttle_count": "3\n"})
    assert sensors.throttled(tmp_path) == ("events", 6.0)


def test_throttling_of_one_package_is_counted_once(tmp_path: Path) -> None:
    for cpu in range(4):  # two cores of two threads
        written(
            tmp_path,
            {
                f"{CPU}/cpu{cpu}/topology/physical_package_id": "0\n",
                f"{CPU}/cpu{cpu}/topology/core_id": f"{cpu // 2}\n",
                f"{CPU}/cpu{cpu}/thermal_throttle/package_throttle_count": "3\n",
                f"{CPU}/cpu{cpu}/thermal_throttle/core_throttle_count": f"{1 + cpu // 2}\n",
            },
        )
    assert sensors.throttled(tmp_path) == ("events", 3.0 + 1.0 + 2.0)


@pytest.mark.parametrize(
    ("told", "now"), [("throttled=0x0\n", False), ("throttled=0x50005", True),
                      ("throttled=0x50000", False)],
)  # fmt: skip
def test_a_raspberry_pi_tells_whether_it_slows_down_now(told: str, now: bool) -> None:
    assert bool(sensors.throttled_bits(told) & sensors.THROTTLED_NOW) == now


def rapl(root: Path, microjoules: int) -> Path:
    domain = "sys/class/powercap/intel-rapl:0"
    return written(
        root,
        {
            f"{domain}/name": "package-0\n",
            f"{domain}/energy_uj": f"{microjoules}\n",
            f"{domain}/max_energy_range_uj": "10000000\n",
            "sys/class/powercap/intel-rapl:0:0/name": "core",
            "sys/class/powercap/intel-rapl:0:0/energy_uj": "5",
        },
    )


def test_joules_are_counted_even_where_the_counter_starts_anew(tmp_path: Path) -> None:
    [counter] = sensors.energy_counters(rapl(tmp_path, 1_000_000))
    assert counter.name == "package-0"
    rapl(tmp_path, 3_500_000)
    assert counter.joules() == pytest.approx(2.5)
    rapl(tmp_path, 500_000)
    assert counter.joules() == pytest.approx(7.0)


def test_a_chip_tells_its_watts(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon3"
    written(tmp_path, {f"{chip}/name": "pmic", f"{chip}/power1_input": "1500000"})
    written(tmp_path, {f"{chip}/power2_input": "500000"})
    assert sensors.watts(tmp_path) == {"pmic": 2.0}


def test_a_system_that_tells_nothing_is_asked_in_vain(tmp_path: Path) -> None:
    asked: Iterator[object] = iter(
        [sensors.temperature(tmp_path), sensors.clock(tmp_path), sensors.throttled(tmp_path),
         sensors.busy_seconds(tmp_path)]
    )  # fmt: skip
    assert list(asked) == [None] * 4
    assert sensors.energy_counters(tmp_path) == []
    assert sensors.watts(tmp_path) == {}
