"""Label paths become codes and come back; every spelling of a class becomes one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_retrieval.errors import TaxonomyError
from edge_retrieval.taxonomy import (
    LOCARNO_LEVELS,
    Taxonomy,
    locarno_classes,
    locarno_codes,
    locarno_path,
    locarno_title,
    parse_locarno,
    parse_uspc,
    partial_codes,
    uspc_path,
)

labels = st.sampled_from(["a", "b", "other", ""])
path_lists = st.lists(st.tuples(labels, labels, labels), max_size=30)


@given(path_lists)
def test_items_that_agree_at_a_level_agree_at_every_coarser_level(paths):
    codes = Taxonomy.of(paths, LOCARNO_LEVELS).encode(paths)
    for first in range(len(paths)):
        for second in range(len(paths)):
            same = codes[first] == codes[second]
            for level in range(3):
                shared = paths[first][: level + 1] == paths[second][: level + 1]
                assert same[level] == shared


@given(path_lists)
def test_partial_codes_of_whole_paths_are_those_of_a_taxonomy(paths):
    paths = [(*path, str(number)) for number, path in enumerate(paths)]  # one design each
    levels, codes = partial_codes((path[:-1], path[-1]) for path in paths)
    assert len(levels) == (4 if paths else 1)
    if paths:
        assert np.array_equal(codes, Taxonomy.of(paths, levels).encode(paths))


def test_what_a_label_path_lacks_is_unknown_and_sources_that_disagree_say_less():
    items = [
        (("06", "01"), "A"),
        (("07",), "B"),
        ((), "C"),
        (("06", "02"), "A"),
        (("07", "1"), "B"),
    ]
    levels, codes = partial_codes(items)
    assert levels == ("class", "subclass", "design")
    assert codes.tolist() == [[0, -1, 0], [1, 0, 1], [-1, -1, 2], [0, -1, 0], [1, 0, 1]]


@given(path_lists)
def test_decoding_gives_back_what_was_encoded(paths):
    taxonomy = Taxonomy.of(paths, LOCARNO_LEVELS)
    codes = taxonomy.encode(paths)
    assert codes.shape == (len(paths), 3)
    assert codes.dtype == np.int32
    assert taxonomy.decode(codes) == paths
    assert len(taxonomy) == len(set(paths))


@given(path_lists, path_lists)
def test_growing_never_changes_a_code(before, after):
    taxonomy = Taxonomy.of(before, LOCARNO_LEVELS)
    old = taxonomy.encode(before)
    taxonomy.encode(after, grow=True)
    assert np.array_equal(taxonomy.encode(before), old)


@given(path_lists)
def test_a_taxonomy_survives_json(paths):
    taxonomy = Taxonomy.of(paths, LOCARNO_LEVELS)
    again = Taxonomy.from_json(json.loads(json.dumps(taxonomy.to_json())))
    assert again == taxonomy
    assert np.array_equal(again.encode(paths), taxonomy.encode(paths))


def test_the_pinned_form_of_a_taxonomy_can_be_read():
    pinned = {
        "levels": ["class", "subclass"],
        "nodes": [[[0, "06"], [0, "07"]], [[0, "06-01"], [1, "07-03"], [0, "06-02"]]],
    }
    taxonomy = Taxonomy.from_json(pinned)
    assert taxonomy.encode([("07", "07-03"), ("06", "06-02")]).tolist() == [[1, 1], [0, 2]]
    assert taxonomy.to_json() == pinned


def test_other_under_two_parents_has_two_codes():
    codes = Taxonomy.of([("chairs", "other"), ("lamps", "other")], ("kind", "sort")).encode(
        [("chairs", "other"), ("lamps", "other")]
    )
    assert codes[0, 1] != codes[1, 1]


def test_an_unknown_path_is_refused_unless_the_tree_may_grow():
    taxonomy = Taxonomy.of([("06", "06-01")], ("class", "subclass"))
    with pytest.raises(TaxonomyError, match="77-00"):
        taxonomy.encode([("77", "77-00")])
    assert taxonomy.encode([("77", "77-00")], grow=True).tolist() == [[1, 1]]


@pytest.mark.parametrize("path", [(), ("06",), ("06", "06-01", "x", "y")])
def test_a_path_of_another_depth_is_refused(path):
    with pytest.raises(TaxonomyError):
        Taxonomy.of([path], LOCARNO_LEVELS)


@pytest.mark.parametrize("levels", [(), ("a", "a")])
def test_levels_have_different_names(levels):
    with pytest.raises(TaxonomyError):
        Taxonomy(levels)


@pytest.mark.parametrize("codes", [[[5, 0]], [[-1, 0]], [[1, 0]], [[0]], [0, 0]])
def test_codes_that_are_no_path_are_refused(codes):
    taxonomy = Taxonomy.of([("06", "06-01"), ("07", "07-03")], ("class", "subclass"))
    with pytest.raises(TaxonomyError):
        taxonomy.decode(np.array(codes))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"levels": ["a"], "nodes": []},
        {"levels": ["a"], "nodes": [[[3, "x"]]]},
        {"levels": ["a"], "nodes": [[[0, "x"], [0, "x"]]]},
        {"levels": ["a"], "nodes": [[["x"]]]},
        {"levels": ["a"], "nodes": [[[0, 5]]]},
        {"levels": [1], "nodes": [[]]},
    ],
)
def test_json_that_is_no_taxonomy_is_refused(value):
    with pytest.raises(TaxonomyError):
        Taxonomy.from_json(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0601", "06-01"),
        ("06-01", "06-01"),
        ("6-1", "06-01"),
        ("06.01", "06-01"),
        ("06–01", "06-01"),
        ("601", "06-01"),
        ("LOC (13) Cl. 06-01", "06-01"),
        ("LOC(11) Cl. 8-05", "08-05"),
        (" 0202 ", "02-02"),
        ("Cl. 8-05, 08; 11-01", "08-05"),
        ("0499", "04-99"),
        ("77-00", "77-00"),
    ],
)
def test_every_spelling_of_a_locarno_code_becomes_one(text, code):
    assert parse_locarno(text) == code


@given(st.integers(0, 99), st.integers(0, 99))
def test_spellings_of_any_number_agree(main, sub):
    spellings = [f"{main}-{sub}", f"{main:02}{sub:02}", f"LOC (13) Cl. {main:02}-{sub:02}"]
    assert {parse_locarno(text) for text in spellings} == {f"{main:02}-{sub:02}"}


@pytest.mark.parametrize(
    "text", ["", "06", "2021-02-09", "06-01-02", "abc", "12345", "1-Jan", "LOC (13)", "06-01 seats"]
)
def test_what_is_no_locarno_code_is_refused_with_a_hint(text):
    with pytest.raises(TaxonomyError) as caught:
        parse_locarno(text)
    assert caught.value.hint


def test_the_table_has_32_classes_and_241_subclasses_with_headings():
    assert len(locarno_classes()) == 32
    assert len(locarno_codes()) == 241
    assert {code[:2] for code in locarno_codes()} == set(locarno_classes())
    assert all(parse_locarno(code) == code for code in locarno_codes())
    assert locarno_title("06") == "Furnishing"
    assert locarno_title("02-04") == "Footwear, socks and stockings"
    assert locarno_title("77-00") is None
    assert locarno_path("0601") == ("06", "06-01")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("D 7654", "D07/654"),
        ("D14486", "D14/486"),
        ("D 73961", "D07/396.1"),
        ("D 74011", "D07/401.1"),
        (" D74012", "D07/401.2"),
        (" D7653", "D07/653"),
        ("D74012", "D07/401.2"),
        ("D12 91", "D12/91"),
        ("D15  5", "D15/5"),
        ("D18 344", "D18/34.4"),
        ("D101194", "D10/119.4"),
        ("D13133", "D13/133"),
        ("D6/362", "D06/362"),
        ("D2-95", "D02/95"),
        ("D02-95", "D02/95"),
        ("D12-414.1", "D12/414.1"),
        ("D07/654", "D07/654"),
        ("D7 654", "D07/654"),
        ("d 8403", "D08/403"),
    ],
)
def test_every_spelling_of_a_us_class_becomes_one(text, code):
    assert parse_uspc(text) == code
    assert parse_uspc(code) == code
    assert uspc_path(text) == (code[:3], code)


@given(st.sampled_from([*range(1, 35), 99]), st.integers(1, 999), st.integers(0, 99))
def test_fixed_columns_are_read_as_they_are_written(main, sub, decimals):
    written = f"D{main:>2}{sub:>3}" + (str(decimals) if decimals else "")
    expected = f"D{main:02}/{sub}" + (f".{decimals}" if decimals else "")
    assert parse_uspc(written) == expected


@pytest.mark.parametrize("text", ["", "D", "D133", "210338", "D 7642-647", "D00/1", "A01D 9/02"])
def test_what_is_no_us_design_class_is_refused(text):
    with pytest.raises(TaxonomyError):
        parse_uspc(text)


@pytest.mark.real
def test_every_class_of_the_real_tables_is_read(real_data: Path):
    for folder in ("uspto-2007", "uspto-multiview"):
        with (real_data / folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                parse_uspc(row["uspc"])
                if "locarno" in row:
                    assert parse_locarno(row["locarno"]) == row["locarno"]
