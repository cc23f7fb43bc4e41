"""Measurements of this device: every stage, every run, nothing invented. No time is judged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval.bench import PARTS, BenchSettings, bench, fresh, growth, lasting
from edge_retrieval.bench import settings as settings_module
from edge_retrieval.bench.child import held
from edge_retrieval.bench.course import Course
from edge_retrieval.bench.settings import BUDGET, ROUNDS, seconds_of
from edge_retrieval.bench.throughput import thread_counts
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.encoder import OpenVinoEncoder
from edge_retrieval.errors import (
    BundleError,
    ConfigError,
    DrawingError,
    EvaluationError,
    MissingExtraError,
    RegisterError,
)
from edge_retrieval.register import Register
from edge_retrieval.report import Report
from edge_retrieval.sample import sample_folder, sample_query, sample_register
from tests import fakes


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    """The sample register, in a cache of its own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EDGE_RET_CACHE", str(tmp_path_factory.mktemp("cache")))
    made = sample_register(Bundle.open(default_bundle_path()))
    patch.undo()
    return made


@pytest.fixture(autouse=True)
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the runtime that takes seconds to load: as on a device."""

    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError.of("the OpenVINO backend", "openvino")

    monkeypatch.setattr(OpenVinoEncoder, "__init__", missing)


def only(register: Register, *parts: str, **settings: Any) -> Report:
    """Bench some parts, quickly."""
    chosen = BenchSettings(parts=parts, quick=True, **{"runs": 2} | settings)
    return bench(register, [sample_query()], chosen, sample=True)


STAGES = ("decode", "cut", "fit", "embed", "search", "print")


def test_the_stages_of_a_search_add_up_to_its_whole(register: Register) -> None:
    report = only(register, "latency", runs=5)
    stages = [report.find("latency", stage=stage)[0].samples for stage in STAGES]
    [total] = report.find("latency", stage="total")
    assert total.n == 5
    assert total.labels == {
        "bundle": "small-int8", "precision": "int8", "backend": "onnx", "threads": 1,
        "stage": "total",
    }  # fmt: skip
    for parts, whole in zip(zip(*stages, strict=True), total.samples, strict=True):
        assert sum(parts) == pytest.approx(whole)
        assert min(parts) > 0
    assert report.settings["designs"] == register.designs_count
    assert report.settings["parts"] == ["latency"]
    assert report["noise.reference"].at


def test_further_bundles_are_measured_in_turn_with_the_registers_own(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_retrieval.bench import latency

    turns: list[str] = []
    run = latency.Searcher.run

    def noted(self: Any, contestant: Any, turn: int) -> Any:
        turns.append(contestant.name)
        return run(self, contestant, turn)

    monkeypatch.setattr(latency.Searcher, "run", noted)
    fakes.tiny_bundle(tmp_path / "tiny")  # vectors of another length
    report = only(register, "latency", runs=3, also=(tmp_path / "tiny",))
    assert {(one.labels["bundle"], one.n) for one in report.find("latency")} == {
        ("small-int8", 3),
        ("tiny", 3),
    }
    own, other = "small-int8", "tiny"
    assert turns[2 * latency.WARM_UP :] == [own, other, other, own, own, other]


def test_bundles_of_one_name_are_told_apart(register: Register, tmp_path: Path) -> None:
    for golden in (1, 2):
        fakes.tiny_bundle(tmp_path / str(golden), golden=golden)
    report = only(register, "latency", also=(tmp_path / "1", tmp_path / "2"))
    names = {str(one.labels["bundle"]) for one in report.find("latency")}
    assert len(names) == 3
    assert sum(name.startswith("tiny@") for name in names) == 2


def test_a_bundle_that_is_named_twice_is_measured_once_and_the_first_stays_first(
    register: Register, tmp_path: Path
) -> None:
    fakes.tiny_bundle(tmp_path / "tiny")
    own = register.bundle.folder
    report = only(register, "latency", also=(tmp_path / "tiny", own))
    names = [str(one.labels["bundle"]) for one in report.find("latency", stage="total")]
    assert len(names) == 2
    assert names[0].startswith("small-int8")
    assert names[0] == report.settings["bundle"]


def test_a_missing_runtime_is_a_note_unless_it_was_asked_for(register: Register) -> None:
    report = only(register, "latency")
    assert any("OpenVINO is not installed" in note for note in report.notes)
    with pytest.raises(MissingExtraError):
        only(register, "latency", backend="openvino")


def test_throughput_is_told_by_threads_and_batch(register: Register) -> None:
    report = only(register, "throughput")
    told = {(one.labels["threads"], one.labels["batch"]) for one in report.find("throughput")}
    assert {batch for _, batch in told} == {1, 4, 16}
    assert {threads for threads, _ in told} >= {1}
    assert all(min(one.samples) > 0 and one.unit == "1/s" for one in report.find("throughput"))


@pytest.mark.parametrize(
    ("cores", "asked", "counts"),
    [(1, 1, [1]), (2, 1, [1, 2]), (4, 3, [1, 2, 3, 4]), (6, 8, [1, 2, 4, 6, 8])],
)
def test_threads_double_up_to_the_cores(cores: int, asked: int, counts: list[int]) -> None:
    assert thread_counts(cores, asked) == counts


def test_a_cold_start_is_a_process_of_its_own(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(fresh, "run_fresh", lambda words: started.append(" ".join(words)))
    monkeypatch.setitem(settings_module.ROUNDS, "cold_start", (2, 2))
    report = only(register, "cold_start")
    assert [one.labels["what"] for one in report.find("cold_start")] == [
        "python", "import", "search",
    ]  # fmt: skip
    assert {one.n for one in report.find("cold_start")} == {2}
    assert len(started) == 3 * (1 + 2), "one of each fills the caches"
    assert f"search {sample_query()} --register {register.folder}" in started[2]


def test_what_a_cold_start_runs_ends_well(register: Register) -> None:
    answer = fresh.run_fresh(
        ["-m", "edge_retrieval.cli", "search", str(sample_query()), "--register",
         str(register.folder), "--json"]
    )  # fmt: skip
    assert json.loads(answer)["results"][0]["hits"]
    assert fresh.run_fresh(["-c", fresh.IMPORTED]) == ""


def test_memory_is_told_part_by_part(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"interpreter": 10, "runtime": 60, "model": 75, "register": 80}

    def asked(what: str, *, part: str, **_: object) -> dict[str, int]:
        assert what == "memory"
        return {"rss": whole[part], "pss": whole[part] - 5, "peak": whole[part] + 2}

    monkeypatch.setattr(fresh, "ask_fresh", asked)
    monkeypatch.setitem(settings_module.ROUNDS, "memory", (1, 1))
    report = only(register, "memory")
    added = {one.labels["part"]: one.samples for one in report.find("memory", kind="rss")}
    assert added == {"interpreter": (10,), "runtime": (50,), "model": (15,), "register": (5,)}
    shared = [one.median for one in report.find("memory", kind="pss")]
    assert sum(shared) == 75
    assert [one.median for one in report.find("memory", kind="peak")] == [12, 62, 77, 82]


def test_a_fresh_process_tells_what_it_holds(register: Register) -> None:
    question = {
        "register": str(register.folder), "sheet": str(sample_query()), "backend": "onnx",
        "threads": 1,
    }  # fmt: skip
    bare, full = (
        fresh.ask_fresh("memory", part=part, **question) for part in ("interpreter", "register")
    )
    assert bare.keys() == full.keys() == held().keys()
    assert 1e6 < bare["rss"] < full["rss"] <= full["peak"] * 1.05


def test_a_process_that_fails_is_a_note_and_the_rest_is_measured(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh.sys, "executable", "/no/such/python")
    report = only(register, "memory", "latency")
    assert report.find("latency")
    assert any(note.startswith("memory is not measured: ") for note in report.notes)


def test_what_a_failing_process_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        EvaluationError, match="a process of its own fails: error: no such"
    ) as error:
        fresh.run_fresh(["-c", "raise SystemExit('talk\\nerror: no such thing')"])
    assert "see for yourself" in error.value.hint

    def late(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(fresh.subprocess, "run", late)
    with pytest.raises(EvaluationError, match="cannot be measured"):
        fresh.run_fresh(["-c", "pass"])


@pytest.mark.parametrize("graph", [False, True])
def test_growth_is_measured_among_made_vectors(
    register: Register, graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "QUICK_FIGURES", (900,))
    monkeypatch.setattr(growth, "ROUNDS", 1)
    report = only(register, "search_cost", graph=graph)
    told = {one.labels["index"]: one for one in report.find("search_cost", figures=900)}
    assert told.keys() == {"exact", "first pass", *(["graph"] if graph else [])}
    assert {one.n for one in told.values()} == {growth.QUERIES}


def test_every_index_of_the_growth_finds_the_same(tmp_path: Path) -> None:
    growth.make_vectors(tmp_path, 700, 32, graph=False, seed=3)
    asked = np.fromfile(tmp_path / growth.ASKED, "<f4").reshape(-1, 32)[:5]
    flat, first = (growth.open_index(tmp_path, name, 32) for name in ("exact", "first pass"))
    for (rows, scores), (others, same) in zip(
        flat.rank(asked, 9), first.rank(asked, 9), strict=True
    ):
        assert rows.tolist() == others.tolist()
        assert scores.tolist() == same.tolist()


def test_growth_without_room_is_a_note(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "ROOM", 1e15)
    report = only(register, "search_cost")
    assert not report.find("search_cost")
    assert any("too full" in note for note in report.notes)


def test_growth_that_fills_the_disk_is_a_note_and_the_rest_is_kept(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(growth, "make_vectors", full)
    report = only(register, "latency", "search_cost")
    assert report.find("latency")
    assert report.settings["failed"] == ["search_cost"]
    assert any("No space left on device" in note for note in report.notes)


def test_growth_without_hnswlib_is_that_of_the_other_indexes(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "QUICK_FIGURES", (900,))
    monkeypatch.setattr(growth, "ROUNDS", 1)
    monkeypatch.setattr(growth, "find_spec", lambda _: None)
    report = only(register, "search_cost", graph=True)
    assert {one.labels["index"] for one in report.find("search_cost")} == {"exact", "first pass"}
    assert any("hnswlib is not installed" in note for note in report.notes)


def test_every_drawing_counts_as_often_as_the_others(register: Register, tmp_path: Path) -> None:
    sheets = []
    for number in range(3):
        sheets.append(tmp_path / f"{number}.png")
        sheets[-1].write_bytes(fakes.drawing(number, 0))
    report = bench(register, sheets, BenchSettings(parts=("latency",), quick=True), sample=True)
    assert report.find("latency", stage="total")[0].n % 3 == 0
    other = bench(
        register, sheets[:2], BenchSettings(parts=("latency",), quick=True, runs=2), sample=True
    )
    assert other.settings["drawings_sha256"] != report.settings["drawings_sha256"]


def test_quality_stands_beside_cost(register: Register, tmp_path: Path) -> None:
    source = fakes_on_disk(tmp_path / "designs")
    report = only(register, "quality", data=source)
    shares = {one.labels["metric"]: one for one in report.find("quality")}
    assert shares.keys() == {"mAP", "hit_rate@1", "hit_rate@5", "recall@10"}
    assert all(0 <= one.median <= 1 and one.n == 1 for one in shares.values())
    assert shares["mAP"].labels == {
        "bundle": "small-int8", "precision": "int8", "backend": "onnx", "metric": "mAP",
        "level": "design",
    }  # fmt: skip
    assert report.settings["data"] == "designs"
    with pytest.raises(EvaluationError):
        only(register, "quality", data=fakes_on_disk(tmp_path / "one", designs=1, views=1))


def fakes_on_disk(folder: Path, *, designs: int = 3, views: int = 2) -> Path:
    """Write a folder tree class/subclass/design of drawings."""
    for number in range(designs):
        place = folder / "06" / "06-01" / f"D{number}"
        place.mkdir(parents=True)
        for view in range(views):
            (place / f"{view}.png").write_bytes(fakes.drawing(number, view))
    return folder


def test_a_sustained_run_has_moments_and_what_the_sensors_tell(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    heats = iter(range(40, 90))
    monkeypatch.setattr(lasting, "LOOK", 0.05)
    monkeypatch.setattr(lasting.sensors, "temperature", lambda: ("cpu", float(next(heats))))
    monkeypatch.setattr(lasting.sensors, "clock", lambda: None)
    counts = iter(range(7, 90))
    monkeypatch.setattr(lasting.sensors, "throttled", lambda: ("events", float(next(counts))))
    report = only(register, "sustained", sustained=0.15)
    assert report["sustained"].n == len(report["sustained"].at)
    assert report["temperature"].samples == (40.0, 41.0, 42.0, 43.0)
    assert report["temperature"].labels == {"sensor": "cpu"}
    assert report["throttled"].samples == (0.0, 1.0, 2.0, 3.0), "since the bench began"
    assert not report.find("clock")
    assert any(note.startswith("clock is not shown") for note in report.notes)


def test_energy_is_counted_where_the_system_counts_it(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counter:
        name = "package-0"

        def joules(self) -> float:
            return 6.0

    monkeypatch.setattr(lasting, "STRETCH", 0.01)
    monkeypatch.setattr(lasting.sensors, "energy_counters", lambda: [Counter()])
    report = only(register, "energy")
    assert report["energy"].unit == "J"
    assert 0 < report["energy"].median <= 6.0
    assert report.find("power", doing="idle")[0].median == pytest.approx(600)
    assert report.find("power", doing="search")


def test_watts_are_summed_up_where_a_chip_tells_only_those(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lasting.sensors, "energy_counters", list)
    monkeypatch.setattr(lasting.sensors, "watts", lambda: {"pmic": 2.0})
    meter = lasting.energy_meter()
    assert meter is not None
    assert meter(lambda: None)["pmic"] > 0


def test_energy_that_nobody_counts_is_a_note(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting.sensors, "energy_counters", list)
    monkeypatch.setattr(lasting.sensors, "watts", dict)
    report = only(register, "energy")
    assert not report.find("energy")
    assert any("energy is not measured" in note for note in report.notes)


def test_a_busy_machine_is_the_first_note(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Course, "busy", lambda _: "the machine was busy: it danced")
    assert only(register, "latency").notes[0] == "the machine was busy: it danced"


def test_a_bench_of_nothing_is_refused(register: Register, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError):
        bench(register, [])
    with pytest.raises(EvaluationError, match="no part"):
        only(register, "quality", "sustained")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DrawingError, match=r"text\.png"):
        bench(register, [tmp_path / "text.png"], BenchSettings(parts=("latency",)))
    with pytest.raises(BundleError):
        only(register, "latency", also=(tmp_path,))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"runs": 0}, "1 or more"), ({"k": 0}, "1 or more"), ({"threads": 0}, "1 or more"),
        ({"parts": ("latancy",)}, "latency?"), ({"parts": ("zzz",)}, "choose from cold_start"),
        ({"parts": ()}, "choose from"), ({"sustained": -1.0}, "5m"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_gets_a_hint(wrong: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        BenchSettings(**wrong)
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("90s", 90), ("90", 90), ("1h", 3600), (" 0.5M ", 30)]
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "soon", "-5m", "0", "nan", "inf", "1e99h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        seconds_of(text)


def test_all_parts_together_stay_within_three_minutes() -> None:
    assert sum(BUDGET.values()) <= 170
    assert BUDGET.keys() == ROUNDS.keys() == set(PARTS) - {"quality", "sustained"}
    quick = BenchSettings(quick=True)
    assert sum(quick.budget(part) for part in BUDGET) <= 21


def test_the_sample_is_small_whole_and_made_only_once(
    register: Register, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    size = sum(f.stat().st_size for f in sample_folder().rglob("*") if f.is_file())
    assert size < 2_000_000
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path))
    bundle = Bundle.open(default_bundle_path())
    first = sample_register(bundle)
    again = sample_register(bundle)
    assert first.folder == again.folder
    assert first.designs_count == register.designs_count
    assert [entry.name for entry in tmp_path.iterdir()] == [first.folder.name]


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RegisterError, match="cache") as caught:
        sample_register(Bundle.open(default_bundle_path()))
    assert "EDGE_RET_CACHE" in caught.value.hint


def test_a_damaged_sample_register_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path))
    bundle = Bundle.open(default_bundle_path())
    folder = sample_register(bundle).folder
    (folder / "register.json").write_text("{}")
    assert sample_register(bundle).designs_count > 0
