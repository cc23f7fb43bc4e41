"""The command line: results on stdout, talk on stderr, exit codes, one line and a hint."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from edge_retrieval.cli import benching, commands, talk
from edge_retrieval.encoder import OpenVinoEncoder
from edge_retrieval.errors import RegisterError
from edge_retrieval.register import adding
from edge_retrieval.report import Measurement, Report
from tests import fakes
from tests.calling import Run, calling


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call `edge-ret ARGS` in an empty folder, with no register and a cache of its own."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("EDGE_RET_REGISTER", raising=False)

    return calling(monkeypatch, capsys)


@pytest.fixture(scope="session", autouse=True)
def one_sample_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let every test of this file share one sample register."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EDGE_RET_CACHE", str(tmp_path_factory.mktemp("cache")))


def draw(path: Path, shape: Sequence[tuple[int, int]], width: int = 4) -> None:
    """Draw one closed line on white paper."""
    image = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(image).polygon(list(shape), outline=0, width=width)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def designs(tmp_path: Path) -> Path:
    """A folder tree class/subclass/design with four designs of two drawings."""
    root = tmp_path / "designs"
    for number, (place, shift) in enumerate(
        [("06/06-01", 0), ("06/06-01", 30), ("06/06-03", 60), ("07/07-01", 90)]
    ):
        for view in (1, 2):
            corners = [(60 + shift, 60), (340, 90 + shift), (300 - shift, 340 - 40 * view)]
            draw(root / place / f"D{number}" / f"{view}.png", corners)
    return root


def is_one_line_and_a_hint(err: str) -> bool:
    """Whether the last two lines of stderr are `error: ...` and `hint: ...`, with no traceback."""
    lines = err.strip().splitlines()
    return (
        "Traceback" not in err
        and lines[-2].startswith("error: ")
        and lines[-1].startswith("hint: ")
    )


def test_a_first_search_needs_nothing_and_says_that_it_searched_the_sample(run: Run) -> None:
    done = run("search")
    assert done.code == 0
    assert "MADE-" in done.out
    assert "sample" in done.err


def test_the_sample_query_finds_its_own_design_first(run: Run) -> None:
    done = run("search", "--json")
    hits = json.loads(done.out)["results"][0]["hits"]
    assert len(hits) == 10
    # its first design of subclass 06-01 is the chair that the query shows from behind
    assert hits[0]["design"] == "MADE-0601-00000"
    assert [hit["rank"] for hit in hits] == list(range(1, 11))
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_indexing_then_searching_ranks_the_drawn_design_first(run: Run, designs: Path) -> None:
    done = run("index", designs, "-o", "mine")
    assert done.code == 0
    assert "4 designs, 8 figures" in done.out
    query = designs / "06/06-03/D2/1.png"
    found = json.loads(run("search", query, "-r", "mine", "--json").out)
    assert found["results"][0]["hits"][0]["design"] == "D2"


def test_indexing_twice_adds_nothing(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    done = run("index", designs, "-o", "mine")
    assert done.code == 0
    assert "0 designs, 0 figures added" in done.out
    assert "8 sheets there already" in done.out


def write_table(folder: Path, title: str, locarno: str, date: str = "2021-03-04") -> None:
    for name in ("a", "b"):
        if not (folder / f"{name}.png").exists():
            draw(folder / f"{name}.png", [(60, 60), (340, 90 + ord(name)), (200, 340)])
    rows = f"a.png,D1,{locarno},{title},{date}\nb.png,D2,06-01,Table,2021-03-04\n"
    (folder / "metadata.csv").write_text(f"file_name,design,locarno,title,published\n{rows}")


def test_designs_whose_data_were_corrected_are_counted(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "table", "Chiar", "06-01")
    assert run("index", tmp_path / "table", "-o", "mine").code == 0
    write_table(tmp_path / "table", "Chair", "06-03")
    done = run("index", tmp_path / "table", "-o", "mine")
    assert "0 designs, 0 figures added from 0 sheets; 1 design updated," in done.out
    write_table(tmp_path / "table", "Armchair", "06-03")
    told = json.loads(run("index", tmp_path / "table", "-o", "mine", "--json").out)
    assert (told["designs_updated"], told["unchanged"]) == (1, 2)
    assert "updated" not in run("index", tmp_path / "table", "-o", "mine").out


def test_a_date_or_a_code_that_is_none_is_a_note_and_no_input_is_skipped(
    run: Run, tmp_path: Path
) -> None:
    write_table(tmp_path / "table", "Chair", "zz-99", "04.03.2021")
    done = run("index", tmp_path / "table", "-o", "mine", "--strict")
    assert done.code == 0
    assert "2 designs, 2 figures added" in done.out
    assert "note: " in done.err and "'04.03.2021' is no date" in done.err
    assert "'zz-99' is not a Locarno code" in done.err
    assert "skipped" not in done.err
    told = json.loads(run("index", tmp_path / "table", "-o", "mine", "--json").out)
    assert (len(told["notes"]), told["problems"]) == (3, [])


def test_an_index_that_is_stopped_before_it_keeps_anything_says_so(
    run: Run, designs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_retrieval.indexing.index", stopped)
    done = run("index", designs, "-o", "mine")
    assert done.code == 130
    assert "stopped: nothing is in the register yet; the same again goes on" in done.err


def test_sheets_that_are_copied_are_told_from_those_taken_back(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    run("register", "remove", "mine", "D1")
    done = run("index", designs, "-o", "mine")
    assert "2 sheets taken back from removed designs" in done.out
    assert "other designs" not in done.out
    (designs / "07/07-01/D3").rename(designs / "07/07-01/D4")
    done = run("index", designs, "-o", "mine")
    assert "2 sheets hold the same bytes as sheets of other designs: copied, not" in done.out
    assert "taken back" not in done.out


def test_an_interrupt_before_anything_has_begun_is_quiet(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(module: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "import_module", interrupted)
    assert run("index", "anything") == (130, "", "")


def test_a_class_filter_keeps_only_that_class(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    query = designs / "06/06-01/D0/1.png"
    for wanted, expected in (("06-01", {"D0", "D1"}), ("06", {"D0", "D1", "D2"}), ("0701", {"D3"})):
        found = json.loads(run("search", query, "-r", "mine", "--class", wanted, "--json").out)
        assert {hit["design"] for hit in found["results"][0]["hits"]} == expected


def test_the_register_is_taken_from_the_environment_then_from_the_folder(
    run: Run, designs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = designs / "06/06-01/D0/1.png"
    run("index", designs)
    assert "./register" in run("search", query).err
    Path("register").rename("other")
    monkeypatch.setenv("EDGE_RET_REGISTER", "other")
    assert "EDGE_RET_REGISTER" in run("search", query).err


def test_a_page_is_written_that_needs_no_other_file(run: Run) -> None:
    done = run("search", "--html", "hits.html")
    page = Path("hits.html").read_text(encoding="utf-8")
    assert "hits.html" in done.err
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert 'src="data:image/png;base64,' in page


def test_a_page_or_a_report_takes_the_place_of_its_own_kind_only(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    query = designs / "06/06-01/D0/1.png"
    before = {path: path.read_bytes() for path in (query, Path("mine/register.json"))}
    for path in before:
        for command in (("search", query, "--html"), ("bench", query, "--runs", "1", "-o")):
            done = run(*command, path, "-r", "mine")
            assert done.code == 1
            assert "not replaced" in done.err
    assert before == {path: path.read_bytes() for path in before}
    for _ in range(2):
        assert run("search", query, "-r", "mine", "--html", "hits.html").code == 0
        assert run("bench", query, "-r", "mine", *BRIEF).code == 0


@pytest.mark.skipif(os.name == "nt", reason="no /dev")
def test_a_page_may_go_where_nothing_is_kept(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    query = designs / "06/06-01/D0/1.png"
    assert run("search", query, "-r", "mine", "--html", os.devnull).code == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_any_name_of_a_file_is_shown_as_it_is_and_steers_nothing(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    drawing = (designs / "06/06-01/D0/1.png").read_bytes()
    for name, shown in (
        ("[bold]a[red].png", "[bold]a[red].png"),
        ("[b]a[", "[b]a["),
        ("two\nlines\x1b[2J.png", "two lines [2J.png"),
        ("no \udcff letter.png", ""),
        ("Stühle 椅子.png", "Stühle 椅子.png"),
    ):
        Path(name).write_bytes(drawing)
        done = run("search", name, "-r", "mine")
        assert (done.code, shown in done.out, "\x1b" in done.out) == (0, True, False)
        assert run("search", name, "-r", "mine", "--json", "--html", "hits.html").code == 0
    done = run("search", "-r", "mine", "mis\x1b\nsing.png")
    assert is_one_line_and_a_hint(done.err)
    assert "mis  sing.png" in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_result_that_cannot_be_written_is_told(
    run: Run, designs: Path, more: tuple[str, ...]
) -> None:
    run("index", designs, "-o", "mine")
    with (
        contextlib.suppress(OSError),  # closing it tries once more
        Path("/dev/full").open("w", encoding="utf-8") as full,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", full)
        done = run("search", designs / "06/06-01/D0/1.png", "-r", "mine", *more)
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)


def test_a_closed_stdout_is_no_error(
    run: Run, designs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run("index", designs, "-o", "mine").code == 0
    assert run("search", designs / "06/06-01/D0/1.png", "-r", "mine").code == 0


def test_eval_prints_the_gallery_the_level_and_the_convention(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    done = run("eval", "mine")
    assert done.code == 0
    for word in ("gallery", "design", "subclass", "class", "inclusive", "exclusive", "mAP"):
        assert word in done.out
    assert "figures" in json.loads(run("eval", "mine", "--json").out)


def test_eval_of_a_damaged_register_measures_nothing(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    vectors = Path("mine/vectors-0.f32")
    vectors.write_bytes(b"\x01" + vectors.read_bytes()[1:])
    done = run("eval", "mine")
    assert (done.code, done.out) == (1, "")
    assert "damaged" in done.err


def test_eval_fits_a_terminal_of_80_letters(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    done = run("eval", "mine")
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_eval_of_a_bundle_scores_a_source_as_a_register_of_it(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    of_register = json.loads(run("eval", "mine", "--json").out)
    done = run("eval", "--data", designs, "--json")
    of_source = json.loads(done.out)
    assert done.code == 0
    for table in ("figures", "designs"):
        assert of_source[table] == of_register[table]
    assert of_source["counts"] == of_register["counts"]
    assert of_source["fingerprint"] == of_register["fingerprint"]
    pytest.importorskip("openvino")
    by_openvino = run("eval", "mine", "--data", designs, "--backend", "openvino", "--threads", "1")
    assert by_openvino.code == 0
    assert "mAP" in by_openvino.out


def test_eval_of_a_part_of_a_split_leaves_the_others_out_of_register_and_bundle(
    run: Run, designs: Path
) -> None:
    run("index", designs, "-o", "mine")
    Path("split.toml").write_text('validation = ["D1"]\ntest = ["D0", "d3"]\n', encoding="utf-8")
    part = ("--split", "split.toml", "--part", "test", "--json")
    of_register = json.loads(run("eval", "mine", *part).out)
    of_source = json.loads(run("eval", "--data", designs, *part).out)
    assert of_register["counts"]["designs"] == 2 and of_register["counts"]["other_parts"] == 2
    assert of_source["counts"] == of_register["counts"]
    for table in ("figures", "designs"):
        assert of_source[table] == of_register[table]
    done = run("eval", "mine", "--split", "split.toml")
    assert "test part of split.toml" in done.err and "left out: 2 designs" in done.err
    assert run("eval", "mine", "--part", "test").code == 2


def test_eval_tells_what_it_skipped_and_left_out(run: Run, designs: Path) -> None:
    (designs / "06/06-01/D0/3.png").write_bytes(b"not an image")
    draw(designs / "loose" / "1.png", [(50, 50), (350, 80), (90, 340)])
    done = run("eval", "--data", designs)
    assert done.code == 3
    assert "mAP" in done.out
    assert "3.png" in done.err and "skipped: 1 input" in done.err
    assert "note: " in done.err and "loose" in done.err
    assert "no class is known of 1 of 5 designs" in done.err
    assert run("eval", "--data", designs, "--strict").code == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "name a register"),
        (("mine",), "is a bundle: say with --data"),
        (("mine", "--checkpoint", "last", "--data", "designs"), "for a run folder"),
        (("mine", "--data", "designs", "--allow-leak"), "for a run folder"),
        (("made", "--threads", "2"), "go with --data"),
    ],
)
def test_eval_says_what_does_not_go_together(
    run: Run, arguments: tuple[str, ...], word: str
) -> None:
    Path("mine").mkdir()
    Path("mine/bundle.json").write_text("{}")
    done = run("eval", *arguments)
    assert done.code == 2
    assert word in " ".join(done.err.replace("│", " ").split())


BRIEF = ("--quick", "--only", "latency", "--runs", "2")
"""A bench of seconds."""


def test_bench_prints_percentiles_by_stage_and_saves_raw_samples(run: Run) -> None:
    done = run("bench", *BRIEF[:-1], "4")
    assert done.code == 0
    for word in ("p50", "p90", "p99", "decode", "cut", "embed", "search", "print", "total"):
        assert word in done.out
    report = Report.load(Path("bench.json"))
    assert report.find("latency", stage="embed", backend="onnx")[0].n == 4
    assert report.settings["sample"] is True


def test_bench_prints_the_report_as_json_and_writes_its_tables(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    query = designs / "06/06-01/D0/1.png"
    done = run("bench", query, "-r", "mine", *BRIEF, "--json", "-o", "a.json", "--markdown", "a.md")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told == json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert told["settings"]["sample"] is False
    assert "| decode |" in Path("a.md").read_text(encoding="utf-8")


def test_bench_measures_quality_and_further_bundles(
    run: Run, designs: Path, tmp_path: Path
) -> None:
    run("index", designs, "-o", "mine")
    fakes.tiny_bundle(tmp_path / "tiny")
    query = designs / "06/06-01/D0/1.png"
    done = run(
        "bench", query, "-r", "mine", *BRIEF, "--data", designs,
        "--also", tmp_path / "tiny", "--backend", "onnx",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "tiny" in done.out
    report = Report.load(Path("bench.json"))
    assert {one.labels["bundle"] for one in report.find("quality", metric="mAP")} == {
        "small-int8", "tiny",
    }  # fmt: skip


def test_bench_writes_a_page_and_says_what_that_needs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name="plots")

    monkeypatch.setattr(benching, "import_module", missing)
    done = run("bench", *BRIEF, "--html", "page.html")
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert "edge-retrieval[report]" in done.err
    assert not Path("bench.json").exists(), "told before anything is measured"

    class Module:
        @staticmethod
        def require() -> None:
            pass

        @staticmethod
        def page(report: Report) -> str:
            return f"<!DOCTYPE html>{report.title}"

    monkeypatch.setattr(benching, "import_module", lambda _: Module)
    assert run("bench", *BRIEF, "--html", "page.html").code == 0
    assert Path("page.html").read_text() == "<!DOCTYPE html>bench"


def test_a_floor_that_is_missed_ends_bench_with_1_and_a_line_for_each(run: Run) -> None:
    done = run("bench", *BRIEF, "--floor", "p90_ms=0.000001,recall=0.9,p50_ms=1e9")
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert done.err.count("error: floor") == 2
    assert "total" in done.out, "the report is printed all the same"
    assert run("bench", *BRIEF, "--floor", "p90_ms=1e9").code == 0


def reports(*, faster: float = 1.0, **host: object) -> None:
    """Save a.json, and b.json of a machine that is so many times as fast."""
    samples = (0.010, 0.011, 0.0115, 0.0115, 0.012, 0.013)
    for name, ratio in (("a", 1.0), ("b", faster)):
        labels = {"bundle": "small", "precision": "int8", "backend": "onnx", "stage": "total"}
        seconds = tuple(second / ratio for second in samples)
        made = Report.of(
            "bench",
            [Measurement("latency", "s", seconds, labels)],
            settings={key: labels[key] for key in ("bundle", "precision", "backend")},
            notes=["the machine was busy: it danced"] if name == "b" else [],
        )
        if name == "b" and host:
            made = replace(made, host={**made.host, **host})
        made.save(Path(f"{name}.json"))


def test_bench_compare_prints_ratios_with_their_intervals(run: Run) -> None:
    reports(faster=2.0)
    done = run("bench", "compare", "a.json", "b.json")
    assert done.code == 0, done.err
    assert "0.50" in done.out
    assert " to " in done.out
    assert "note: b.json: the machine was busy" in done.err
    [change] = json.loads(run("bench", "compare", "a.json", "b.json", "--json").out)
    assert change["ratio"] == pytest.approx(0.5)
    assert change["interval"][1] < 1
    assert change["labels"]["stage"] == "total"


def test_bench_compare_shows_different_machines_side_by_side_if_asked(run: Run) -> None:
    reports(cpu="Cortex-A76", board="Raspberry Pi 5", flags=["asimd"])
    done = run("bench", "compare", "a.json", "b.json")
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert "--across" in done.err
    done = run("bench", "compare", "a.json", "b.json", "a.json", "--across")
    assert done.code == 0
    assert "Raspberry Pi 5" in done.out
    assert "search, p90" in done.out
    told = json.loads(run("bench", "compare", "a.json", "b.json", "--across", "--json").out)
    assert told[1]["device"] == "Raspberry Pi 5"
    assert told[1]["headlines"]["search, p50"]["value"] == pytest.approx(0.0115)


def test_bench_compare_holds_floors_against_the_last_report(run: Run) -> None:
    reports(faster=2.0)
    assert run("bench", "compare", "a.json", "b.json", "--floor", "p90_ms=8").code == 0
    done = run("bench", "compare", "b.json", "a.json", "--floor", "p90_ms=8")
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)


def test_bench_compare_says_what_was_not_alike(run: Run) -> None:
    reports()
    for name, figures in (("a", 360), ("b", 400_000)):
        report = Report.load(Path(f"{name}.json"))
        settings = {**report.settings, "figures": figures, "seconds": figures}
        if name == "b":
            settings["drawings_sha256"] = "told since then"  # by an older version not at all
        replace(report, settings=settings).save(Path(f"{name}.json"))
    told = run("bench", "compare", "a.json", "b.json").err
    assert "not alike: figures was 360 in the first report, 400000 in the second" in told
    assert "seconds" not in told and "sha256" not in told


def test_bench_refuses_what_it_could_not_write_or_read_before_it_measures(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> Report:
        raise AssertionError("measured")

    monkeypatch.setattr("edge_retrieval.bench.running._measured", never)
    for options, word in (
        (("-o", "x.json", "--html", "x.json"), "one name"),
        (("-",), "standard input"),
        (("--threads", "200"), "200 threads, but this process may use"),
        (("--data", "nothing-here"), "no such file"),
    ):
        done = run("bench", *BRIEF, *options)
        assert done.code == 1, options
        assert is_one_line_and_a_hint(done.err)
        assert word in done.err

    def full(**_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(benching, "NamedTemporaryFile", full)
    done = run("bench", *BRIEF)
    assert done.code == 1
    assert "cannot be written: Permission denied" in done.err


def test_a_bench_that_loses_a_part_keeps_the_rest_and_ends_with_1(
    run: Run, designs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely = Path("lonely")
    (lonely / "06" / "06-01" / "D1").mkdir(parents=True)
    drawing = designs / "06/06-01/D0/1.png"
    (lonely / "06/06-01/D1/1.png").write_bytes(drawing.read_bytes())
    done = run("bench", *BRIEF, "--data", lonely)
    assert done.code == 1
    assert "total" in done.out
    report = Report.load(Path("bench.json"))
    assert report.settings["failed"] == ["quality"]
    assert report.find("latency")
    assert any(note.startswith("quality is not measured: ") for note in report.notes)


def test_a_bench_names_the_inputs_of_its_data_that_it_skipped_and_ends_with_3(
    run: Run, designs: Path
) -> None:
    broken = designs / "06/06-01/D0/9.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    done = run("bench", *BRIEF, "--data", designs)
    assert done.code == 3, done.err
    assert "9.png" in " ".join(done.out.split())
    broken.unlink()
    assert run("bench", *BRIEF, "--data", designs).code == 0


@pytest.mark.parametrize("names", [("a.json",), ("a.json", "b.json", "a.json")])
def test_bench_compare_takes_two_reports(run: Run, names: tuple[str, ...]) -> None:
    reports()
    assert run("bench", "compare", *names).code == 2


@pytest.mark.parametrize("part", ["quality", "sustained"])
def test_bench_says_what_a_part_needs(run: Run, part: str) -> None:
    done = run("bench", "--only", part)
    assert done.code == 2
    assert f"--only {part} needs" in " ".join(done.err.replace("│", " ").split())


def test_bench_takes_options_before_and_after_its_drawings(run: Run, designs: Path) -> None:
    query = designs / "06/06-01/D0/1.png"
    Path("compare").write_bytes(query.read_bytes())
    assert run("bench", *BRIEF, query, "-o", "b.json").code == 0
    assert run("bench", "./compare", *BRIEF, "-o", "c.json").code == 0, "a drawing of that name"
    assert "compare" in run("bench", "--help").out
    assert "--across" in run("bench", "compare", "--help").out


def test_a_broken_drawing_among_good_ones_is_named_and_the_rest_is_indexed(
    run: Run, designs: Path
) -> None:
    (designs / "06/06-01/D0/3.png").write_bytes(b"not an image")
    done = run("index", designs, "-o", "mine")
    assert done.code == 3
    assert "D0/3.png" in done.err
    assert "8 figures" in done.out
    assert run("index", designs, "-o", "strict", "--strict").code == 1


def test_a_broken_drawing_among_several_is_named_and_the_others_are_searched(
    run: Run, designs: Path
) -> None:
    run("index", designs, "-o", "mine")
    good = designs / "06/06-01/D0/1.png"
    Path("broken.png").write_bytes(b"")
    done = run("search", "broken.png", good, "-r", "mine", "--json")
    assert done.code == 3
    assert "skipped: broken.png" in done.err
    assert [result["query"] for result in json.loads(done.out)["results"]] == [str(good)]
    done = run("search", "broken.png", "missing.png", "-r", "mine")
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "missing.png"),
        ("search", "text.png"),
        ("search", "blank.png"),
        ("search", "."),
        ("search", "--register", "missing"),
        ("search", "--register", "."),
        ("search", "--class", "nonsense"),
        ("search", "--html", "missing/folder/hits.html"),
        ("search", "blank.png", "--html", "blank.png"),
        ("search", "--html", "empty"),
        ("search", "--backend", "abacus"),
        ("index", "missing"),
        ("index", "empty"),
        ("index", "blank.png", "-o", "x"),
        ("index", "broken", "-o", "x"),
        ("index", "designs", "-o", "text.png"),
        ("index", "designs", "-o", "."),
        ("index", "designs", "--source", "gazette"),
        ("index", "designs", "--bundle", "empty", "-o", "x"),
        ("eval", "missing"),
        ("eval", "--data", "missing"),
        ("eval", "--data", "empty"),
        ("eval", "missing", "--data", "designs"),
        ("eval", "--data", "designs", "--backend", "abacus"),
        ("register", "verify", "missing"),
        ("bench", "missing.png"),
        ("bench", "--only", "latancy"),
        ("bench", "--sustained", "soon"),
        ("bench", "--floor", "recal=0.9"),
        ("bench", "--also", "empty", "--only", "latency"),
        ("bench", "-o", "missing/bench.json"),
        ("bench", "-o", "empty"),
        ("bench", "--markdown", "blank.png"),
        ("bench", "--only", "quality", "--data", "empty"),
        ("bench", "compare", "missing.json", "text.png"),
        ("bench", "compare", "text.png", "text.png"),
        ("export",),
        ("export", "missing"),
        ("doctor", "empty"),
        ("doctor", "missing"),
        ("doctor", "--backend", "abacus"),
        ("train", "--data", "missing"),
        ("train", "--data", "designs", "--set", "temprature=0.1"),
        ("train", "--data", "designs", "--config", "missing.toml"),
        ("train", "--data", "designs", "--resume"),
        ("data", "synth", "designs"),
    ],
)
def test_a_users_mistake_gets_one_line_and_a_hint(
    run: Run, designs: Path, arguments: tuple[str, ...]
) -> None:
    designs.rename("designs")
    Path("text.png").write_text("this is no picture")
    Image.new("L", (200, 200), 255).save("blank.png")
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/USD0000001-20200101.XML").write_text("<us-patent-grant><oops>")
    done = run(*arguments)
    assert done.code == 1, done
    assert is_one_line_and_a_hint(done.err), done.err
    assert not Path("x").exists()


def test_a_full_disk_is_called_a_full_disk_and_leaves_no_empty_register(
    run: Run, designs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(moment: str) -> None:
        if moment == "vectors written":
            raise RegisterError("No space left on device", hint="make room")

    monkeypatch.setattr(adding, "moment", full)
    done = run("index", designs, "-o", "mine")
    assert done.code == 1
    assert "error: No space left on device" in done.err
    assert not Path("mine").exists()


def test_an_interrupted_index_says_what_is_kept_and_the_same_again_completes_it(
    run: Run, designs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(moment: str) -> None:
        if moment == "committed":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adding, "COMMIT_FIGURES", 4)
        patch.setattr(adding, "moment", interrupt)
        done = run("index", designs, "-o", "mine")
    assert done.code != 0
    assert "stopped: 2 designs are kept" in done.err
    assert "damaged" not in done.err
    assert "2 designs, 4 figures added" in run("index", designs, "-o", "mine").out
    assert run("register", "verify", "mine").code == 0


def test_an_empty_folder_may_become_a_register_and_another_one_may_not(
    run: Run, designs: Path
) -> None:
    Path("empty").mkdir()
    assert run("index", designs, "-o", "empty").code == 0
    Path("full").mkdir()
    Path("full/letter.txt").write_text("Dear Sir")
    done = run("index", designs, "-o", "full")
    assert done.code == 1
    assert "choose another folder" in done.err
    assert [path.name for path in Path("full").iterdir()] == ["letter.txt"]


def test_a_tree_of_any_depth_is_a_taxonomy(run: Run, tmp_path: Path) -> None:
    for depth, levels in ((1, "class, design"), (3, "class, subclass, level 3, design")):
        root = tmp_path / f"depth{depth}"
        for number in (0, 1):
            place = "/".join(["lamps", "desk", "led"][:depth])
            draw(root / place / f"D{number}" / "1.png", [(60, 60), (340, 90 + number), (200, 300)])
        assert run("index", root, "-o", f"deep{depth}").code == 0
        assert levels in run("register", "info", f"deep{depth}").out
        found = run("search", root / "lamps", "-r", f"deep{depth}")
        assert found.code == 1  # a folder is no drawing
        query = next(root.rglob("1.png"))
        assert "D0" in run("search", query, "-r", f"deep{depth}", "--class", "lamps").out


def test_a_design_that_is_excluded_gives_way_to_others(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    query = designs / "06/06-01/D0/1.png"
    found = json.loads(run("search", query, "-r", "mine", "--exclude", "D0", "--json").out)
    assert {hit["design"] for hit in found["results"][0]["hits"]} == {"D1", "D2", "D3"}


def test_another_bundle_may_not_add_to_a_register(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    other = Path(__file__).parent / "pinned" / "bundle-1"
    done = run("index", designs, "-o", "mine", "--bundle", other)
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert run("register", "verify", "mine").code == 0


def test_two_designs_with_one_number_are_told_apart_by_path(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "table"
    for name in ("a", "b"):
        draw(table / f"{name}.png", [(60, 60), (340, 90), (200, 340)])
    rows = "file_name,design,locarno\na.png,D1,06-01\nb.png,D1,07-01\n"
    (table / "metadata.csv").write_text(rows)
    done = run("index", table, "-o", "mine")
    assert done.code == 3
    assert "metadata.csv:3" in done.err or "b.png" in done.err


def test_the_fastest_backend_is_named_and_said_why(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    query = designs / "06/06-03/D2/1.png"
    done = run("search", query, "-r", "mine", "--backend", "auto", "--json")
    assert done.code == 0
    assert done.err.startswith("backend: ")
    assert json.loads(done.out)["results"][0]["hits"][0]["design"] == "D2"
    measured = run("eval", "--data", designs, "--backend", "auto", "--json")
    assert json.loads(measured.out)["backend"] in ("onnx", "openvino")


def test_doctor_finds_the_shipped_bundle_good_on_this_device(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    assert run("doctor", "mine").code == 0  # the bundle that a register keeps
    done = run("doctor")
    assert done.code == 0
    assert "good" in done.out
    assert "onnxruntime" in done.out


def test_doctor_shows_what_is_off_and_ends_with_one_error(run: Run) -> None:
    folder = fakes.int8_bundle(Path("clipped"), model=fakes.CLIPPED).folder
    done = run("doctor", folder)
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert "the model itself saturates" in done.err
    assert "OFF" in done.out
    told = json.loads(run("doctor", folder, "--json").out)
    assert (told["good"], told["checks"][1]["good"]) == (False, True)
    (folder / "model.onnx").write_bytes(b"")
    done = run("doctor", folder)
    assert done.code == 1
    assert "model.onnx: 0 bytes where" in done.err
    assert "runtime" not in done.out


def test_doctor_tells_of_another_runtime_that_is_off_without_failing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    right = OpenVinoEncoder.embed
    monkeypatch.setattr(OpenVinoEncoder, "embed", lambda self, x: right(self, x[..., ::-1]))
    folder = fakes.int8_bundle(Path("made")).folder
    done = run("doctor", folder)
    assert done.code == 0
    assert "note: OpenVINO" in done.err
    assert run("doctor", folder, "--backend", "openvino").code == 1
    assert run("doctor", folder, "--backend", "onnx").code == 0


def test_what_is_removed_is_erased_when_compacted_and_both_say_so(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    done = run("register", "remove", "mine", "D1")
    assert "come back if their drawings are indexed again" in done.err
    assert "register compact mine" in done.err
    assert (
        "erased: vectors, pictures and records of 2 removed figures"
        in run("register", "compact", "mine").out
    )
    assert "erased" not in run("register", "compact", "mine").out


def test_an_unknown_option_is_a_usage_error(run: Run) -> None:
    assert run("search", "--nonsense").code == 2


def test_help_and_version_are_answered(run: Run) -> None:
    assert "search" in run("--help").out
    assert run("--version").out.startswith("edge-ret ")


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_table_fits_its_terminal_and_keeps_numbers_whole(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "PIPE_WIDTH", width)
    heading = "Trunks, suitcases, briefcases, handbags, keyholders, cases"
    talk.print_table(
        "query",
        (("design", "left"), ("class", "cut"), ("title", "cut"), ("score", "right")),
        [("USD0909824", heading, "Suitcase with a handle and wheels", "0.961")],
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= width
    [row] = [line for line in lines if "USD0909824" in line]
    assert "0.961" in row
    assert "Suitcase" in row
