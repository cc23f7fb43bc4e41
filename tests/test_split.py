"""A split names each design once, in any spelling, and tells the parts apart."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from edge_retrieval.design_number import spelled_once
from edge_retrieval.errors import ConfigError
from edge_retrieval.split import PARTS, Split, read_split


def written(folder: Path, text: str) -> Path:
    file = folder / "split.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return read_split(
        written(tmp_path, 'seed = 1\ntrain = ["USD0909824"]\nvalidation = ["b-7"]\ntest = ["D42"]')
    )


def test_all_spellings_of_a_number_are_one_design(split: Split) -> None:
    for number in ("USD0909824", "USD909824", "D909,824", "909824", "usd0909824", " USD909824 "):
        assert split.part_of(number) == "train", number
    assert split.part_of("B-7") == "validation"
    assert split.part_of("USD0000042") == "test"
    assert split.part_of("USD909825") is None
    assert spelled_once("D00") == "D00"  # no number of the US office


def test_a_design_that_the_file_does_not_name_trains_and_is_in_no_part(split: Split) -> None:
    numbers = ("909824", "b-7", "D42", "MADE-0601-00000")
    assert [split.trains(number) for number in numbers] == [True, False, False, True]
    inside = {part: [split.within(part)(number) for number in numbers] for part in PARTS}
    assert inside == {
        "train": [True, False, False, False],
        "validation": [False, True, False, False],
        "test": [False, False, True, False],
    }
    trains, validates = split.sides()
    assert [trains(n) for n in numbers] == [split.trains(n) for n in numbers]
    assert [validates(n) for n in numbers] == inside["validation"]


def test_what_tells_the_parts_apart_travels_to_other_processes(split: Split) -> None:
    for keep in (*split.sides(), split.within("test")):
        again = pickle.loads(pickle.dumps(keep))
        assert [again(n) for n in ("D42", "b-7")] == [keep(n) for n in ("D42", "b-7")]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("test = [", "not TOML", "test ="),
        ('tets = ["D1"]', "no part 'tets'", "did you mean test"),
        ('test = "D1"', "test is no list", "test ="),
        ("test = [1]", "test is no list", "test ="),
        ('test = ["USD0909824"]\ntrain = ["D909824"]', "is in train and in test", "one place"),
        ('test = ["USD0909824", "D909824"]', "D909824 is twice in test", "one place"),
    ],
)
def test_a_file_that_is_no_split_is_one_clear_error(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_split(written(tmp_path, text))
    assert hint in caught.value.hint


def test_a_part_that_is_not_there_or_empty_is_one_clear_error(tmp_path: Path) -> None:
    split = read_split(written(tmp_path, 'test = ["D1"]'))
    with pytest.raises(ConfigError, match="no part 'tests'"):
        split.within("tests")
    with pytest.raises(ConfigError, match="validation part is empty") as caught:
        split.within("validation")
    assert caught.value.hint == "choose from test"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_split(tmp_path / "missing.toml")
