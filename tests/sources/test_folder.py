"""A folder tree of drawings is a set of designs, and its folder names are the labels."""

from __future__ import annotations

from edge_retrieval.sources import Note, folder


def test_the_last_folder_is_the_design_and_those_above_are_its_labels(tmp_path, made, split):
    made.lay(
        tmp_path,
        {
            "chairs/stools/a1/1.png": b"1",
            "chairs/stools/a1/2.png": b"2",
            "lamps/other/b7/1.png": b"3",
        },
    )
    designs, problems = split(folder.read(tmp_path))
    assert problems == []
    assert [(design.number, design.labels) for design in designs] == [
        ("a1", ("chairs", "stools")),
        ("b7", ("lamps", "other")),
    ]
    assert [sheet.read() for sheet in designs[0].sheets] == [b"1", b"2"]


def test_folders_named_by_locarno_codes_become_class_and_subclass(tmp_path, made, split):
    for top in ("06/06-01/a", "06-01/b", "6-1/c", "0601/d", "2021/e"):
        made.lay(tmp_path / top.replace("/", "_"), {f"{top}/1.png": b""})
        [design], problems = split(folder.read(tmp_path / top.replace("/", "_")))
        assert problems == []
        if top == "2021/e":
            continue
        assert design.labels == ("06", "06-01")
        assert design.locarno == "06-01"


def test_a_year_is_no_locarno_code(tmp_path, made, split):
    [design], _ = split(folder.read(made.lay(tmp_path, {"1999/a/1.png": b""})))
    assert design.labels == ("1999",)
    assert design.locarno is None


def test_each_image_of_a_flat_folder_is_a_design(tmp_path, made, split):
    made.lay(tmp_path, {"a.png": b"", "b.tif": b"", "b.png": b"", "notes.txt": b"", "c.xyz": b""})
    designs, found = split(folder.read(tmp_path))
    [problem] = [one for one in found if not isinstance(one, Note)]
    [note] = [one for one in found if isinstance(one, Note)]
    assert note.reason.startswith("3 drawings lie in no folder of a design")
    assert [design.number for design in designs] == ["a", "b", "b.tif"]
    assert all(design.labels == () for design in designs)
    assert problem.where == str(tmp_path / "c.xyz")


def test_one_drawing_is_one_design(tmp_path, made, split):
    made.lay(tmp_path, {"a.png": b"drawing"})
    [design], problems = split(folder.read(tmp_path / "a.png"))
    assert problems == []
    assert design.sheets[0].read() == b"drawing"


def test_a_design_at_another_depth_loses_its_labels_and_is_reported(tmp_path, made, split):
    made.lay(tmp_path, {"a/b/one/1.png": b"", "c/two/1.png": b""})
    designs, [problem] = split(folder.read(tmp_path))
    assert [(design.number, design.labels) for design in designs] == [
        ("one", ("a", "b")),
        ("two", ()),
    ]
    assert problem.where == str(tmp_path / "c" / "two")


def test_designs_of_one_name_are_told_apart_by_the_folders_above(tmp_path, made, split):
    made.lay(tmp_path, {"chairs/001/1.png": b"", "lamps/001/1.png": b"", "lamps/002/1.png": b""})
    designs, problems = split(folder.read(tmp_path))
    assert problems == []
    assert [design.number for design in designs] == ["001", "lamps/001", "002"]


def test_a_tree_in_a_zip_is_read_in_place(tmp_path, made, split):
    (tmp_path / "t.zip").write_bytes(made.zipped({"06-01/a/1.png": b"x"}))
    [design], _ = split(folder.read(tmp_path / "t.zip"))
    assert design.labels == ("06", "06-01")
    assert design.sheets[0].read() == b"x"
    assert design.sheets[0].where == f"{tmp_path}/t.zip!06-01/a/1.png"


def test_two_digit_folders_are_class_and_subclass_where_locarno_has_them(tmp_path, made, split):
    made.lay(tmp_path, {"06/01/chair/1.png": b"1", "12/77/car/1.png": b"2"})
    designs, _ = split(folder.read(tmp_path))
    found = {design.number: design for design in designs}
    assert (found["chair"].labels, found["chair"].locarno) == (("06", "06-01"), "06-01")
    # no such subclass: a month and a day, perhaps
    assert (found["car"].labels, found["car"].locarno) == (("12", "77"), None)
