"""DeepPatent2: figures of a patent come together, from whatever form its files have."""

from __future__ import annotations

import json

import pytest

from edge_retrieval.errors import SourceError
from edge_retrieval.sources import Box, deeppatent2, jsonstream
from edge_retrieval.sources.design import Problem


def row(patent: int, figure: int, **changes):
    """Return one row as Table 4 of the paper describes it."""
    name = f"USD083688{patent}-20190101"
    return {
        "id": figure,
        "patentID": name,
        "patentdate": "2019-01-01",
        "figid": figure,
        "caption": f"Fig. {figure} is a front view",
        "object": "Pet treat",
        "figure_file": f"{name}-D00001.png",
        "subfigure_file": f"{name}-D00001_{figure}.png",
        "object_title": "Pet treat",
        "x_figure": 10 * figure,
        "y_figure": 5,
        "w_figure": 8,
        "h_figure": 20,
        "W_label": 0.1,
        "classification_locarno": "0106",
        "classification_national": "D 1199",
    } | changes


ROWS = [row(0, 1), row(0, 2), row(1, 1, classification_locarno=" 07-03 ")]


def images(rows, field="subfigure_file"):
    return {line[field]: line[field].encode() for line in rows}


def lay(tmp_path, made, rows, *, lines=False, folder="Segmented", files=None):
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows, indent=1)
    (tmp_path / "design2019.json").write_text(text, encoding="utf-8")
    files = images(rows) if files is None else files
    return made.lay(tmp_path, {f"{folder}/{name}": data for name, data in files.items()})


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("folder", ["Segmented", "Segmentednew", "segmented_2019/images/deep"])
def test_segmented_figures_are_whole_images(lines, folder, tmp_path, made, split):
    lay(tmp_path, made, ROWS, lines=lines, folder=folder)
    (first, second), problems = split(deeppatent2.read(tmp_path))
    assert problems == []
    assert (first.number, first.published, first.title) == (
        "USD0836880",
        "2019-01-01",
        "Pet treat",
    )
    assert (first.labels, second.labels) == (("01", "01-06"), ("07", "07-03"))
    assert first.uspc == ("D01/199",)
    assert [sheet.single for sheet in first.sheets] == [True, True]
    assert [sheet.captions for sheet in first.sheets] == [
        ("Fig. 1 is a front view",),
        ("Fig. 2 is a front view",),
    ]
    assert first.sheets[1].read() == b"USD0836880-20190101-D00001_2.png"


@pytest.mark.parametrize("archive", ["Segmented.tar.gz", "Segmented.tar", "Segmented.zip"])
def test_archives_beside_the_json_are_read_in_place(archive, tmp_path, made, split):
    lay(tmp_path, made, ROWS, files={})
    files = {f"Segmented/{name}": data for name, data in images(ROWS).items()}
    mode = "w:gz" if archive.endswith("gz") else "w"
    packed = made.zipped(files) if archive.endswith("zip") else made.tarred(files, mode)
    (tmp_path / archive).write_bytes(packed)
    designs, problems = split(deeppatent2.read(tmp_path))
    assert problems == []
    for design in designs:
        for sheet in design.sheets:
            assert sheet.read() == sheet.name.encode()


def test_without_segmented_images_the_original_is_cut_by_the_boxes(tmp_path, made, split):
    originals = images(ROWS, "figure_file")
    lay(tmp_path, made, ROWS, folder="Original_2019", files=originals)
    (first, _), problems = split(deeppatent2.read(tmp_path))
    assert problems == []
    [sheet] = first.sheets
    assert sheet.boxes == (Box(10, 5, 18, 25), Box(20, 5, 28, 25))
    assert sheet.captions == ("Fig. 1 is a front view", "Fig. 2 is a front view")
    assert not sheet.single


def test_missing_empty_and_mixed_case_fields_are_borne(tmp_path, made, split):
    odd = {"PatentID": "USD0000001-20190101", "SUBFIGURE_FILE": "a.png", "caption": None}
    odd |= {"classification_locarno": float("nan"), "patentdate": ""}
    lay(tmp_path, made, [odd], files={"a.png": b"a"})
    [design], [problem] = split(deeppatent2.read(tmp_path))
    assert (design.labels, design.title, design.published) == ((), "", None)
    assert "no Locarno code" in problem.reason


def test_problems_stand_with_their_line(tmp_path, made, split):
    rows = [
        row(0, 1),
        {"id": 1},
        row(1, 1, subfigure_file="gone.png", figure_file=""),
        row(2, 1, classification_locarno="seats", classification_national="X"),
        row(0, 2),
    ]
    lay(tmp_path, made, rows, lines=True, files=images([rows[0], rows[3], rows[4]]))
    designs, problems = split(deeppatent2.read(tmp_path))
    assert [design.number for design in designs] == ["USD0836880", "USD0836882"]
    found = {(problem.where.rsplit(":", 1)[1], problem.reason) for problem in problems}
    assert ("2", "no patentID") in found
    assert ("3", "image not found: gone.png") in found
    assert any(line == "4" and "'seats' is not a Locarno code" in text for line, text in found)
    assert any(line == "4" and "'X' is not a US design class" in text for line, text in found)
    assert any(line == "5" and "USD0836880 again" in text for line, text in found)


def test_a_bad_box_leaves_the_sheet_to_be_cut(tmp_path, made, split):
    rows = [row(0, 1, x_figure="left")]
    lay(tmp_path, made, rows, folder="Original", files=images(rows, "figure_file"))
    [design], [problem] = split(deeppatent2.read(tmp_path))
    assert design.sheets[0].boxes is None
    assert "are no box" in problem.reason


def test_years_lie_in_folders_of_their_own(tmp_path, made, split):
    for year in ("2018", "2019"):
        (tmp_path / year).mkdir()
        lay(tmp_path / year, made, [row(int(year[-1]), 1)])
    designs, problems = split(deeppatent2.read(tmp_path))
    assert [design.number for design in designs] == ["USD0836888", "USD0836889"]
    assert problems == []


def test_a_folder_without_the_json_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no design"):
        list(deeppatent2.read(tmp_path))


@pytest.mark.parametrize("piece", [1, 7, 64])
@pytest.mark.parametrize("form", ["array", "lines", "one line"])
def test_objects_are_streamed_whatever_the_piece(piece, form, tmp_path, monkeypatch):
    monkeypatch.setattr(jsonstream, "PIECE", piece)
    rows = [{"n": number, "text": 'é "]}\n' * number} for number in range(6)]
    lines = [json.dumps(line, ensure_ascii=False) for line in rows]
    text = {
        "array": "[\n" + ",\n".join(lines) + "\n]\n",
        "lines": "\n".join(lines),
        "one line": json.dumps(rows),
    }[form]
    path = tmp_path / "design2019.json"
    path.write_text(text, encoding="utf-8")
    found = list(jsonstream.objects(path))
    assert [value for _, value in found] == rows
    if form == "array":
        assert [line for line, _ in found] == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("head", ["[\n", ""])
def test_reading_goes_on_after_a_broken_object(head, tmp_path):
    path = tmp_path / "design2019.json"
    path.write_text(head + '{"n": 1}\n{"n": oops}\n{"n": 3}\n"text"\n{"n": 4', encoding="utf-8")
    items = list(jsonstream.objects(path))
    assert [item[1]["n"] for item in items if not isinstance(item, Problem)] == [1, 3]
    first = 2 if head else 1
    assert [item.where for item in items if isinstance(item, Problem)] == [
        f"{path}:{first + 1}",
        f"{path}:{first + 3}",
        f"{path}:{first + 4}",
    ]
