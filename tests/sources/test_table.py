"""A table of figures: rows become designs, bad rows become problems with their line."""

from __future__ import annotations

import sys
from datetime import date

import pytest

from edge_retrieval.errors import MissingExtraError, SourceError
from edge_retrieval.sources import Box, Note, table

HEAD = "file_name,design,locarno,uspc,title,view,box\n"


@pytest.fixture
def write(tmp_path, made):
    """Write a metadata.csv beside two images and return the folder."""

    def to_folder(text: str, name: str = "metadata.csv"):
        made.lay(tmp_path, {"sheets/a.png": b"a", "sheets/b.png": b"b"})
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return to_folder


def test_rows_of_one_sheet_are_its_figures_in_order(write, split):
    folder = write(
        HEAD
        + "sheets/a.png,D1,06-01,D6/362,Chair,0,10 20 30 40\n"
        + "sheets/b.png,D2,601,D6/362,Stool,0,0 0 5 5\n"
        + 'sheets/a.png,D1,06-01,D6/362,Chair,1,"50, 20, 90, 40"\n'
    )
    (first, second), problems = split(table.read(folder))
    assert problems == []
    assert first.labels == second.labels == ("06", "06-01")
    assert (first.title, first.uspc, first.locarno) == ("Chair", ("D06/362",), "06-01")
    [sheet] = first.sheets
    assert sheet.name == "a.png"
    assert sheet.boxes == (Box(10, 20, 30, 40), Box(50, 20, 90, 40))
    assert sheet.read() == b"a"
    assert sheet.captions == ()


def test_named_views_are_captions(write, split):
    folder = write(
        HEAD
        + "sheets/a.png,D1,,,,front,0 0 5 5\n"
        + "sheets/a.png,D1,,,,rear,5 0 9 5\n"
        + "sheets/b.png,D1,,,,top,\n"
    )
    [design], problems = split(table.read(folder))
    assert problems == []
    assert [sheet.captions for sheet in design.sheets] == [("front", "rear"), ("top",)]
    assert [sheet.boxes is None for sheet in design.sheets] == [False, True]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("sheets/a.png,D1,,,,0,1 2 3", "box '1 2 3' is not"),
        ("sheets/a.png,D1,,,,0,9 9 3 3", "is not x0 y0 x1 y1"),
        ("sheets/a.png,D1,,,,0,-1 0 3 3", "is not x0 y0 x1 y1"),
        ("sheets/a.png,D1,,,,0,a b c d", "is not x0 y0 x1 y1"),
        ("sheets/none.png,D1,,,,0,", "no file 'sheets/none.png'"),
        ("x" * 300 + ".png,D1,,,,0,", "no file 'xxx"),
        ("../a.png,D1,,,,0,", "leads out of the table's folder"),
        ("sheets/../../a.png,D1,,,,0,", "leads out of the table's folder"),
        (r"..\a.png,D1,,,,0,", "leads out of the table's folder"),
        ("/etc/passwd,D1,,,,0,", "leads out of the table's folder"),
        (r"C:\a.png,D1,,,,0,", "leads out of the table's folder"),
        (",D1,,,,0,", "'file_name' is empty"),
        ("sheets/a.png,,,,,0,", "the column 'design' is empty"),
        ("sheets/a.png,D1", "2 cells for 7 columns"),
    ],
)
def test_a_bad_row_is_a_problem_with_its_line(row, reason, write, split):
    folder = write(HEAD + "sheets/b.png,D9,,,,0,\n" + 'sheets/b.png,D8,,,"two\nlines",0,\n' + row)
    designs, problems = split(table.read(folder))
    assert {design.number for design in designs} == {"D8", "D9"}
    mine = [problem for problem in problems if problem.where == f"{folder}/metadata.csv:5"]
    assert len(mine) == 1
    assert reason in mine[0].reason


def test_a_second_row_without_a_box_and_differing_values_are_reported(write, split):
    folder = write(
        HEAD + "sheets/a.png,D1,06-01,,Chair,0,\n" + "sheets/a.png,D1,07-01,,Chair,0,0 0 5 5\n"
    )
    [design], problems = split(table.read(folder))
    assert design.locarno == "06-01"
    reasons = [problem.reason for problem in problems]
    assert any("locarno differs from '06-01'" in reason for reason in reasons)
    assert any("needs a box" in reason for reason in reasons)


def test_codes_and_dates_that_cannot_be_read_are_reported_and_the_design_kept(write, split):
    folder = write(
        "file_name,design,locarno,uspc,date\n"
        "sheets/a.png,D1,06-01,D6/362,2021-02-09\n"
        "sheets/b.png,D2,1-Jan,X9,someday\n"
    )
    (first, second), problems = split(table.read(folder))
    assert first.published == "2021-02-09"
    assert (second.labels, second.locarno, second.uspc, second.published) == ((), None, (), None)
    assert len(problems) == 4  # the two codes, no label, the date
    assert {problem.where for problem in problems} == {f"{folder}/metadata.csv:3"}
    assert all(isinstance(problem, Note) for problem in problems)  # nothing was left out


def test_without_locarno_the_us_class_gives_the_labels(write, split):
    folder = write("file_name,design,uspc\nsheets/a.png,D1,D12-414.1\nsheets/b.png,D2,D6-362\n")
    designs, problems = split(table.read(folder))
    assert problems == []
    assert [design.labels for design in designs] == [("D12", "D12/414.1"), ("D06", "D06/362")]


def test_any_label_columns_are_a_taxonomy(write, split):
    text = "file_name;design;Class;Subclass;maker\nsheets/a.png;D1;seats;stools;x\n"
    folder = write(text + "sheets/b.png;D2;;;y\n")
    (first, second), [problem] = split(table.read(folder))
    assert (first.labels, second.labels) == (("seats", "stools"), ())
    assert "has no class or subclass" in problem.reason
    (first, _), _ = split(table.read(folder, labels=["maker", "class"]))
    assert first.labels == ("x", "seats")


def test_without_a_design_column_each_image_is_one(write, split):
    designs, _ = split(table.read(write("file_name\nsheets/a.png\nsheets/b.png\n")))
    assert [design.number for design in designs] == ["a", "b"]


def test_images_beside_listed_ones_that_no_row_names_are_reported(write, split):
    [_], [problem] = split(table.read(write("file_name\nsheets/a.png\n")))
    assert "1 image is not in metadata.csv: b.png" in problem.reason


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("file_name,desgin", "the column 'desgin' is not read: perhaps it is meant to be 'design'"),
        ("file_name,designnumber", "'designnumber' is not read"),
        ("file_name,design number", "'design number' is not read"),
        ("file_name,locarno_code,design,maker,page", "perhaps it is meant to be 'locarno'"),
        ("file_name,publishd,number,designs", "perhaps it is meant to be 'published'"),
        ("file_name,design,number,date,applicant,view,page,colour", None),
    ],
)
def test_a_column_that_is_called_much_like_one_that_is_missing_is_told_once(
    head, told, write, split
):
    cells = "," * head.count(",")
    rows = f"sheets/a.png{cells.replace(',', ',a')}\nsheets/b.png{cells.replace(',', ',b')}\n"
    _, problems = split(table.read(write(f"{head}\n{rows}")))
    notes = [one for one in problems if "is not read" in one.reason]
    assert [one.where.endswith("metadata.csv:1") for one in notes] == [True] * (told is not None)
    assert all(isinstance(one, Note) and told in one.reason for one in notes)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "file_name,file_name\nx,y\n"])
def test_a_table_without_a_usable_head_is_refused_with_a_hint(text, write):
    with pytest.raises(SourceError) as caught:
        list(table.read(write(text)))
    assert caught.value.hint


def test_a_table_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "metadata.csv").write_bytes(b"file_name\n\xff\xfe\n")
    with pytest.raises(SourceError, match="UTF-8"):
        list(table.read(tmp_path))


def test_a_cell_without_end_is_a_problem(write, split):
    long = "x" * 200_000
    _, problems = split(table.read(write(f"file_name,title\nsheets/a.png,{long}\n")))
    assert any("broken CSV" in problem.reason for problem in problems)


def test_parquet_gives_what_csv_gives(write, split):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = write("unused", "notes.txt")
    columns = {
        "file_name": ["sheets/a.png", "sheets/a.png", "../x.png"],
        "design": ["D1", "D1", "D2"],
        "locarno": [601, 601, None],
        "box": [[0, 0, 5, 5], [5, 0, 9, 5], None],
        "published": [date(2021, 2, 9)] * 3,
    }
    parquet.write_table(pyarrow.table(columns), folder / "metadata.parquet")
    [design], problems = split(table.read(folder))
    assert design.sheets[0].boxes == (Box(0, 0, 5, 5), Box(5, 0, 9, 5))
    assert (design.labels, design.published) == (("06", "06-01"), "2021-02-09")
    assert problems[0].where == f"{folder}/metadata.parquet:3"
    (folder / "metadata.parquet").write_bytes(b"PAR1 nonsense")
    _, [problem] = split(table.read(folder))
    assert "broken Parquet" in problem.reason


def test_parquet_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "metadata.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError) as caught:
        list(table.read(tmp_path))
    assert "edge-retrieval[parquet]" in caught.value.hint


@pytest.mark.real
def test_the_real_tables_are_read_whole(real_data, split):
    designs, problems = split(table.read(real_data / "uspto-multiview"))
    assert problems == []
    sheets = [sheet for design in designs for sheet in design.sheets]
    assert (len(designs), len(sheets)) == (104, 699)
    assert sum(len(sheet.boxes or ()) for sheet in sheets) == 804
    designs, problems = split(table.read(real_data / "uspto-2007"))
    boxes = [box for design in designs for sheet in design.sheets for box in sheet.boxes or ()]
    assert (len(designs), len(boxes)) == (1086, 1409)
    assert "USD0534871.png" in problems[0].reason  # an image that the table does not list
    assert len(problems) == 1
