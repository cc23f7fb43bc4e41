"""The command that searches: its filters, its plan, and what it says of files that have gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.calling import Run
from tests.test_cli import designs as designs  # fixtures
from tests.test_cli import is_one_line_and_a_hint
from tests.test_cli import run as run

TABLE = """design,locarno,title,published,applicants,file_name
A1,06-01,Chair,2020-05-01,Sony Corporation,1.png
A2,06-01,Stool,2021-03-04,Braun GmbH,2.png
A3,06-04,Shelf,,Braun GmbH,3.png
A4,07-03,Spoon,2022-01-01,Meier,4.png
"""


@pytest.fixture
def query(run: Run, designs: Path) -> Path:
    """Index a table of four designs into `mine` and return a drawing."""
    folder = designs.parent / "table"
    folder.mkdir()
    drawings = sorted(designs.rglob("1.png"))
    for number, drawing in enumerate(drawings, start=1):
        shutil.copy(drawing, folder / f"{number}.png")
    (folder / "metadata.csv").write_text(TABLE, encoding="utf-8")
    done = run("index", folder, "-o", "mine")
    assert done.code == 0, done.err
    return drawings[0]


@pytest.mark.parametrize(
    ("options", "numbers", "words"),
    [
        ("--class 06-01 --class 07", "A1 A2 A4", "in 06-01 or 07 (3 figures)"),
        ("--not-class 06", "A4", "not in 06"),
        ("--before 2021-03-04", "A1", "before 2021-03-04 (1 figure); left out: 1 of unknown date"),
        ("--after 2021-03-04", "A2 A4", "from 2021-03-04 on"),
        ("--applicant braun", "A2 A3", "by braun"),
        ("--not-applicant BRAUN", "A1 A4", "not by BRAUN"),
        ("--source table", "A1 A2 A3 A4", "all 4 designs of source table"),
        ("--not-source table", "", "no design was left to compare with: none not of source table"),
        ("--design A1 --design A3", "A1 A3", "among A1 or A3"),
        ("--exclude A1 --exclude A3", "A2 A4", "without A1 or A3"),
        ("--class 06 --after 2021 --not-applicant sony", "A2", "in 06 from 2021-01-01 on not by"),
    ],
)
def test_filters_leave_what_they_name_and_the_statement_says_so(
    run: Run, query: Path, options: str, numbers: str, words: str
) -> None:
    done = run("search", query, "-r", "mine", "--json", *options.split())
    assert done.code == 0, done.err
    [result] = json.loads(done.out)["results"]
    assert sorted(hit["design"] for hit in result["hits"]) == numbers.split()
    assert result["compared_designs"] == len(numbers.split())
    assert words in result["statement"]
    assert (result["exact"], result["overlap"]) == (True, None)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ("--applicant Soni", "Sony Corporation"),
        ("--source tables", "table"),
        ("--design A11", "A1"),
        ("--class A1,09", "classes here"),
        ("--before someday", "2021-03-04"),
    ],
)
def test_a_filter_that_names_nothing_is_one_error_with_what_is_near(
    run: Run, query: Path, options: str, hint: str
) -> None:
    done = run("search", query, "-r", "mine", *options.split())
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert hint in done.err.splitlines()[-1]
    assert not done.out


def test_the_plan_is_told_on_stderr_and_in_json(run: Run, query: Path) -> None:
    done = run("search", query, "-r", "mine", "--explain", "--json")
    assert "plan: exact\n  1. compare in float32: 4 figures; fewer than 8,000" in done.err
    [step] = json.loads(done.out)["results"][0]["plan"]
    assert (step["what"], step["figures"]) == ("compare in float32", 4)
    done = run("search", query, "-r", "mine", "--json", "--exact")
    assert "plan" not in json.loads(done.out)["results"][0]
    assert "plan:" not in done.err


def test_designs_whose_files_have_gone_are_found_and_told_once(run: Run, query: Path) -> None:
    assert "have gone" not in run("search", query, "-r", "mine").err
    shutil.rmtree(query.parents[4] / "table")
    done = run("search", query, query, "--each", "-r", "mine", "--json")
    assert done.code == 0
    assert len(json.loads(done.out)["results"][1]["hits"]) == 4
    assert done.err.count("have gone") == 1
    assert "4 designs of these came from files that have gone (A" in done.err


def test_more_designs_than_there_are_gives_all(run: Run, query: Path) -> None:
    done = run("search", query, "-r", "mine", "-k", "1000", "--json")
    assert len(json.loads(done.out)["results"][0]["hits"]) == 4
    assert run("search", query, "-r", "mine", "-k", "0").code == 2


def test_every_drawing_that_cannot_be_read_is_named_and_stands_in_the_json(
    run: Run, query: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no drawing")
    done = run("search", query, bad, tmp_path / "gone.png", "-r", "mine", "--json")
    assert done.code == 3
    problems = json.loads(done.out)["problems"]
    assert all(name in told for name, told in zip(("bad", "gone"), problems, strict=True))
    done = run("search", bad, tmp_path / "gone.png", "-r", "mine")
    assert done.code == 1
    assert "bad.png" in done.err and "gone.png" in done.err


def test_nothing_left_to_compare_with_is_said_instead_of_an_empty_table(
    run: Run, query: Path
) -> None:
    done = run("search", query, "-r", "mine", "--class", "06", "--design", "A4")
    assert done.code == 0
    assert "no design was left to compare with: none in 06 among A4" in done.out
    assert "rank" not in done.out


def test_what_was_to_be_left_out_and_is_not_here_is_a_note(run: Run, query: Path) -> None:
    done = run("search", query, "-r", "mine", "--not-applicant", "nobody", "--json")
    assert done.code == 0
    assert done.err.startswith("note: mine: no applicant 'nobody': nothing was left out for it")
    [note] = json.loads(done.out)["results"][0]["notes"]
    assert "nobody" in note


def sheets_of(designs: Path) -> list[Path]:
    return [designs / "06/06-01/D0/1.png", designs / "06/06-01/D0/2.png"]


def test_several_drawings_are_views_of_one_product(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    one, two = sheets_of(designs)
    [result] = json.loads(run("search", one, two, "-r", "mine", "--json").out)["results"]
    assert [view["file"] for view in result["views"]] == [str(one), str(two)]
    first = result["hits"][0]
    assert (first["design"], first["score"]) == ("D0", pytest.approx(1, abs=1e-5))
    assert [view["figure"] for view in first["views"]] == [1, 2]
    done = run("search", one, two, "-r", "mine")
    assert "1.png, 2.png" in done.out
    each = json.loads(run("search", one, two, "--each", "-r", "mine", "--json").out)["results"]
    assert [result["query"] for result in each] == [str(one), str(two)]


def test_a_folder_is_a_product_and_its_files_are_its_views_in_order(
    run: Run, designs: Path
) -> None:
    run("index", designs, "-o", "mine")
    folder = designs / "06/06-01/D0"
    shutil.copy(folder / "1.png", folder / "10.png")
    (folder / "notes.txt").write_text("not a drawing")
    [result] = json.loads(run("search", folder, "-r", "mine", "--json").out)["results"]
    assert [Path(view["file"]).name for view in result["views"]] == ["1.png", "2.png", "10.png"]
    assert [view["same_as"] for view in result["views"]][2] == 1
    assert result["query"] == str(folder)
    (designs / "none").mkdir()
    done = run("search", designs / "none", "-r", "mine")
    assert done.code == 1
    assert "a folder without a drawing" in done.err and is_one_line_and_a_hint(done.err)


def test_a_design_of_the_register_is_searched_with_by_its_number(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    [result] = json.loads(run("search", "D0", "-r", "mine", "--json").out)["results"]
    assert {hit["design"] for hit in result["hits"]} == {"D1", "D2", "D3"}
    assert result["compared_designs"] == 3
    both = run("search", "D0", sheets_of(designs)[0], "-r", "mine")
    assert both.code == 1
    assert "searched with alone" in both.err and is_one_line_and_a_hint(both.err)
    each = run("search", "D0", sheets_of(designs)[0], "--each", "-r", "mine", "--json")
    assert json.loads(each.out)["results"][0]["query"] == "D0"


def test_a_record_is_written_and_replayed(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    asked = ("search", *sheets_of(designs), "-r", "mine", "--exclude-self", "--record")
    done = run(*asked, "search.json", "--csv", "found.csv", "--html", "page.html")
    assert done.code == 0
    for name in ("record: ", "citations: ", "page: "):
        assert name in done.err
    again = run("replay", "search.json", "-r", "mine")
    assert again.code == 0
    assert again.out.startswith("identical: 3 hits, the same designs, ranks and scores")
    run("register", "remove", "mine", "D3")
    changed = run("replay", "search.json", "-r", "mine")
    assert changed.code == 1
    assert "D3, rank 3 when recorded, is no longer in the register" in changed.out
    told = json.loads(run("replay", "search.json", "-r", "mine", "--json").out)
    assert (told["same"], told["identical"]) == (False, False)
    assert "drawing" in Path("search.json").read_text()
    assert len(Path("found.csv").read_text().splitlines()) == 4


def test_a_record_without_drawings_is_replayed_with_the_files(run: Run, designs: Path) -> None:
    run("index", designs, "-o", "mine")
    one, two = sheets_of(designs)
    run("search", one, two, "-r", "mine", "--record", "r.json", "--without-drawings")
    done = run("replay", "r.json", "-r", "mine")
    assert done.code == 1 and is_one_line_and_a_hint(done.err)
    done = run("replay", "r.json", "-r", "mine", "--drawing", one, "--drawing", two)
    assert done.code == 0


@pytest.mark.parametrize("text", ["", "{}", "not JSON", '{"kind": "edge-retrieval search record"}'])
def test_what_is_no_record_is_one_line_and_a_hint(run: Run, text: str) -> None:
    Path("record.json").write_text(text)
    for name in ("record.json", "missing.json", "."):
        done = run("replay", name)
        assert done.code == 1
        assert is_one_line_and_a_hint(done.err)


def test_designs_are_counted_by_what_a_filter_would_leave(run: Run, query: Path) -> None:
    asked = ("search", query, "-r", "mine", "--counts", "--class", "06-01")
    told = json.loads(run(*asked, "--json").out)["facets"]
    assert told["compared_designs"] == 2
    assert [(one["code"], one["count"]) for one in told["classes"]] == [("06", 3), ("07", 1)]
    assert {one["name"]: one["count"] for one in told["applicants"]} == {
        "Braun GmbH": 1,
        "Sony Corporation": 1,
    }
    lines = [line.split() for line in run(*asked).out.splitlines()]
    assert ["class", "2", "06-01", "Seats"] in lines
    assert ["year", "1", "2020"] in lines
