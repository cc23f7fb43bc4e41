"""Grants of the US office: folders, ZIPs, weekly tars, and all that can be wrong with them."""

from __future__ import annotations

import io
import tarfile

import pytest
from PIL import Image

from edge_retrieval.errors import DrawingError
from edge_retrieval.sources import uspto


def test_a_grant_gives_all_that_its_xml_says(tmp_path, made, split):
    folder = made.lay(tmp_path / "USD0909824-20210209", made.grant())
    [design], problems = split(uspto.read(folder))
    assert problems == []
    assert design.number == "USD0909824"
    assert design.labels == ("07", "07-03")
    assert (design.locarno, design.locarno_edition) == ("07-03", "13")
    assert design.uspc == ("D07/654", "D07/401.2")
    assert design.title == "Sport spoon & fork"
    assert (design.filed, design.published) == ("2020-06-30", "2021-02-09")
    assert design.applicants == ("Chris Tillman", "Spoons & Co")
    assert design.descriptions == (
        "FIG. 1 is a perspective view",
        "FIG. 2 is a top view thereof",
    )
    assert design.stated_figures == 7
    assert [sheet.role for sheet in design.sheets] == ["front", "drawing", "drawing"]
    assert [sheet.name[-10:] for sheet in design.sheets] == [
        "D00000.TIF",
        "D00001.TIF",
        "D00002.TIF",
    ]
    assert all(sheet.boxes is None and not sheet.single for sheet in design.sheets)
    assert Image.open(io.BytesIO(design.sheets[1].read())).size == (64, 48)


@pytest.mark.parametrize("form", ["folders", "zips", "zip of zips", "weekly tar", "weekly tar.gz"])
def test_the_same_grants_are_found_in_every_packing(form, tmp_path, made, split):
    numbers = ["USD0000001", "USD0000002"]
    names = {number: f"{number}-20210209" for number in numbers}
    zips = {f"DESIGN/{names[n]}.ZIP": made.zipped(made.grant(n), f"{names[n]}/") for n in numbers}
    if form == "folders":
        for number in numbers:
            made.lay(tmp_path / names[number], made.grant(number))
        source = tmp_path
    elif form == "zips":
        source = made.lay(tmp_path, zips)
    else:
        name, data = {
            "zip of zips": ("week.zip", made.zipped(zips)),
            "weekly tar": ("I20210209.tar", made.tarred(zips)),
            "weekly tar.gz": ("I20210209.tar.gz", made.tarred(zips, "w:gz")),
        }[form]
        source = made.lay(tmp_path, {name: data}) / name
    designs, problems = split(uspto.read(source))
    assert problems == []
    assert [design.number for design in designs] == numbers
    for design in designs:
        assert len(design.sheets) == 3
        assert {sheet.read() for sheet in design.sheets} == {made.tiff()}


def test_one_xml_brings_the_drawings_beside_it(tmp_path, made, split):
    made.lay(tmp_path, made.grant("USD0000001") | made.grant("USD0000002"))
    [design], problems = split(uspto.read(tmp_path / "USD0000002-20210209.XML"))
    assert problems == []
    assert (design.number, len(design.sheets)) == ("USD0000002", 3)


def test_the_place_of_a_nested_drawing_tells_every_archive_on_the_way(tmp_path, made, split):
    inner = made.zipped(made.grant(), "USD0909824-20210209/")
    made.lay(tmp_path, {"I.tar": made.tarred({"DESIGN/USD0909824-20210209.ZIP": inner})})
    [design], _ = split(uspto.read(tmp_path / "I.tar"))
    assert design.where == (
        f"{tmp_path}/I.tar!DESIGN/USD0909824-20210209.ZIP"
        "!USD0909824-20210209/USD0909824-20210209.XML"
    )


def test_utility_patents_of_a_weekly_tar_are_counted_not_read(tmp_path, made, split):
    members = {
        "DESIGN/USD0000001-20210209.ZIP": made.zipped(made.grant("USD0000001")),
        "UTIL/US10000001-20210209.ZIP": b"not opened",
        "UTIL/US10000002-20210209.ZIP": b"not opened",
        "x/odd.zip": made.zipped(made.grant("US12345678", kind="utility", doc="12345678")),
    }
    made.lay(tmp_path, {"week.tar": made.tarred(members)})
    designs, [problem] = split(uspto.read(tmp_path / "week.tar"))
    assert len(designs) == 1
    assert problem.reason == "3 grants are not of a design: not read"


def test_a_file_of_many_documents_is_read_one_by_one(tmp_path, made, split):
    files = made.grant("USD0000001") | made.grant("USD0000002")
    xml = b"".join(files.pop(name) for name in sorted(files) if name.endswith(".XML"))
    made.lay(tmp_path, files | {"ipg210209.xml": xml})
    designs, problems = split(uspto.read(tmp_path))
    assert problems == []
    assert [design.number for design in designs] == ["USD0000001", "USD0000002"]
    assert designs[1].where != designs[0].where


ENTITIES = {
    "internal": '<!ENTITY x "boo">',
    "bomb": '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">',
    "external": '<!ENTITY x SYSTEM "file:///etc/passwd">',
    "parameter": '<!ENTITY % p SYSTEM "http://127.0.0.1/evil.dtd"> %p;',
}


@pytest.mark.parametrize("declaration", ENTITIES.values(), ids=ENTITIES.keys())
def test_an_xml_that_declares_entities_is_refused(declaration, tmp_path, made, split):
    files = made.grant()
    [name] = [name for name in files if name.endswith(".XML")]
    files[name] = files[name].replace(b"[ ]", f"[ {declaration} ]".encode())
    made.lay(tmp_path, files)
    designs, [problem] = split(uspto.read(tmp_path))
    assert designs == []
    assert problem.where == str(tmp_path / name)
    assert "unsafe XML, refused" in problem.reason


def test_the_unparsed_entities_of_old_grants_are_harmless(tmp_path, made, split):
    files = made.grant()
    [name] = [name for name in files if name.endswith(".XML")]
    declaration = b'<!NOTATION TIF SYSTEM "t"><!ENTITY D0 SYSTEM "D0.TIF" NDATA TIF>'
    files[name] = files[name].replace(b"[ ]", b"[" + declaration + b"]")
    made.lay(tmp_path, files)
    designs, problems = split(uspto.read(tmp_path))
    assert len(designs) == 1
    assert problems == []


def test_named_characters_of_an_unread_dtd_keep_their_meaning(tmp_path, made, split):
    files = made.grant()
    [name] = [name for name in files if name.endswith(".XML")]
    files[name] = files[name].replace(b"&amp; fork", b"&mdash; &nonsense;")
    [design], _ = split(uspto.read(made.lay(tmp_path, files)))
    assert design.title == "Sport spoon — ?"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<us-patent-grant><a></us-patent-grant>", "broken XML: mismatched tag: line 1"),
        (b"", "broken XML: no element found"),
        (b"\xff\xfe\x00garbage", "broken XML"),
        (b"<other/>", "not a grant: its root is 'other'"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "XML that cannot be read"),
    ],
)
def test_broken_xml_is_one_problem_and_work_goes_on(data, reason, tmp_path, made, split):
    made.lay(tmp_path / "a", {"USD0000001-20210209.XML": data})
    made.lay(tmp_path / "b", made.grant())
    designs, [problem] = split(uspto.read(tmp_path))
    assert len(designs) == 1
    assert reason in problem.reason


def test_a_grant_without_a_locarno_code_is_kept_without_a_class(tmp_path, made, split):
    [design], [problem] = split(uspto.read(made.lay(tmp_path, made.grant(locarno=""))))
    assert design.labels == ()
    assert design.locarno is None
    assert "states no Locarno code" in problem.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uspc": "D133"}, "'D133' is not a US design class"),
        ({"filed": "20201399"}, "the date '20201399'"),
        ({"stated": "5"}, "states 5 drawing sheets, 2 are there"),
        ({"stated": "many"}, "number-of-drawing-sheets is 'many', not a number"),
        ({"locarno": "<classification-locarno><main-classification>x</main-classification>"
          "</classification-locarno>"}, "'x' is not a Locarno code: indexed without a class"),
    ],
)  # fmt: skip
def test_an_odd_field_is_reported_and_the_design_kept(changes, reason, tmp_path, made, split):
    [design], [problem] = split(uspto.read(made.lay(tmp_path, made.grant(**changes))))
    assert design.number == "USD0909824"
    assert reason in problem.reason
    assert problem.where.endswith(".XML")


def test_an_unknown_locarno_code_is_a_new_class(tmp_path, made, split):
    code = "<main-classification>7700</main-classification>"
    odd = f"<classification-locarno>{code}</classification-locarno>"
    [design], problems = split(uspto.read(made.lay(tmp_path, made.grant(locarno=odd))))
    assert design.labels == ("77", "77-00")
    assert problems == []


def test_missing_and_unnamed_drawings_are_reported(tmp_path, made, split):
    files = made.grant()
    files["stray.TIF"] = made.tiff()
    del files["USD0909824-20210209-D00002.TIF"]
    [design], problems = split(uspto.read(made.lay(tmp_path, files)))
    assert len(design.sheets) == 2
    reasons = " ".join(problem.reason for problem in problems)
    assert "names the drawing 'USD0909824-20210209-D00002.TIF', which is not there" in reasons
    assert "states 2 drawing sheets, 1 are there" in reasons
    assert str(tmp_path / "stray.TIF") in [problem.where for problem in problems]


def test_a_drawing_named_outside_the_grant_is_not_read(tmp_path, made, split):
    made.lay(tmp_path, {"secret.TIF": made.tiff()})
    images = '<img file="../secret.TIF"/><img file="/etc/passwd"/>'
    folder = made.lay(tmp_path / "grant", made.grant(images=images, stated="0"))
    designs, problems = split(uspto.read(folder))
    assert designs == []
    assert sum("which is not there" in problem.reason for problem in problems) == 2


def test_the_second_of_two_designs_with_one_number_is_reported_with_both_paths(
    tmp_path, made, split
):
    made.lay(tmp_path / "a", made.grant())
    made.lay(tmp_path / "b", made.grant())
    [design], [problem] = split(uspto.read(tmp_path))
    assert design.where in problem.reason
    assert problem.where == str(tmp_path / "b" / "USD0909824-20210209.XML")


def test_drawings_without_an_xml_and_unknown_files_are_reported(tmp_path, made, split):
    made.lay(tmp_path / "a", {"x.TIF": made.tiff()})
    made.lay(tmp_path / "b", made.grant() | {"odd.xyz": b"", "Thumbs.db": b"", "notes.txt": b""})
    _, problems = split(uspto.read(tmp_path))
    assert {problem.where for problem in problems} == {
        str(tmp_path / "a"),
        str(tmp_path / "b" / "odd.xyz"),
    }


def test_a_damaged_zip_of_a_weekly_tar_does_not_stop_the_others(tmp_path, made, split):
    good = made.zipped(made.grant("USD0000002"))
    members = {
        "DESIGN/USD0000001-20210209.ZIP": made.zipped(made.grant("USD0000001"))[:-40],
        "DESIGN/USD0000002-20210209.ZIP": good,
    }
    made.lay(tmp_path, {"week.tar": made.tarred(members)})
    designs, [problem] = split(uspto.read(tmp_path / "week.tar"))
    assert [design.number for design in designs] == ["USD0000002"]
    assert problem.where.endswith("week.tar!DESIGN/USD0000001-20210209.ZIP")


def test_a_flipped_byte_in_a_zip_is_found_when_the_sheet_is_read(tmp_path, made, split):
    files = made.grant()
    data = bytearray(made.zipped(files))
    at = data.rindex(b"D00002.TIF", 0, data.index(b"PK\x01\x02")) + 40
    data[at] ^= 255
    made.lay(tmp_path, {"g.zip": bytes(data)})
    [design], _ = split(uspto.read(tmp_path / "g.zip"))
    with pytest.raises(DrawingError, match=r"g\.zip!USD.*D00002\.TIF: cannot be read"):
        design.sheets[2].read()


def test_links_and_devices_in_a_tar_are_not_followed(tmp_path, made, split):
    data = io.BytesIO(made.tarred(made.grant()))
    with tarfile.open(fileobj=data, mode="a") as archive:
        for name, kind in (("link.TIF", tarfile.SYMTYPE), ("dev.TIF", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    made.lay(tmp_path, {"week.tar": data.getvalue()})
    designs, problems = split(uspto.read(tmp_path / "week.tar"))
    assert len(designs) == 1
    assert [problem.where.split("!")[-1] for problem in problems] == ["link.TIF", "dev.TIF"]


@pytest.mark.real
def test_the_real_grants_are_read_without_a_problem(real_data, split):
    designs, problems = split(uspto.read(real_data / "uspto-grants"))
    assert problems == []
    assert [design.locarno for design in designs] == ["07-03", "23-01", "23-01"]
    assert [design.stated_figures for design in designs] == [7, 8, 8]
    assert [len(design.descriptions) for design in designs] == [7, 8, 8]
    sheets = [sheet for design in designs for sheet in design.sheets]
    assert sum(sheet.role == "drawing" for sheet in sheets) == 17
    assert sum(sheet.role == "front" for sheet in sheets) == 3
    assert all(sheet.read()[:2] in (b"II", b"MM") for sheet in sheets)
    assert designs[0].uspc == ("D07/654", "D07/401.2", "D07/653")
