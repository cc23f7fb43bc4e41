"""Facets: how many designs each class, year, applicant would leave; counted by loops as well."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edge_retrieval.facets import ClassCount, facets
from edge_retrieval.filters import Filters
from edge_retrieval.register import DesignRecord, Register
from tests import fakes

MADE = (
    (("06", "06-01"), "2019-05-01", ("Acme", "Zeta")),
    (("06", "06-01"), "2020-05-01", ("Acme",)),
    (("06", "06-04"), "2020-07-01", ()),
    (("07", "07-03"), None, ("Zeta", "Zeta")),
    ((), "2021-01-01", ("Beta",)),
    (("12", "12-08"), "2021-02-01", ("Acme",)),
)


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    folder = tmp_path_factory.mktemp("facets")
    bundle = fakes.tiny_bundle(folder / "b")
    register = Register.create(folder / "r", bundle)
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    for number, (labels, date, applicants) in enumerate(MADE):
        sheets = [fakes.sheet(fakes.drawing(number, v), f"{number}-{v}.png") for v in range(2)]
        made = fakes.design(
            number, sheets, labels, locarno=labels[-1] if labels else None, published=date,
            applicants=applicants,
        )  # fmt: skip
        register.add([made], encoder, source=f"week {number % 2}")
    register.remove(["D0005"])
    return register


def records(register: Register) -> list[DesignRecord]:
    return [register.design(f"D{number:04d}") for number in range(5)]


def flat(classes: tuple[ClassCount, ...]) -> dict[str, int]:
    return {c.code: c.designs for c in classes} | {
        code: count for c in classes for code, count in flat(c.children).items()
    }


def test_every_living_design_is_counted_once_a_facet(register: Register) -> None:
    found = facets(register)
    known = records(register)
    assert found.compared_designs == 5
    assert flat(found.classes) == dict(Counter(label for one in known for label in one.labels))
    assert dict(found.years) == Counter(int(one.published[:4]) for one in known if one.published)
    names = Counter(name for one in known for name in set(one.applicants))
    assert dict(found.applicants) == names
    assert dict(found.sources) == Counter(one.source for one in known)
    assert found.unknown == {"class": 1, "year": 1}


def test_classes_have_their_headings_and_the_most_frequent_applicant_comes_first(
    register: Register,
) -> None:
    found = facets(register)
    assert [(c.code, c.title) for c in found.classes] == [
        ("06", "Furnishing"),
        ("07", "Household goods, not elsewhere specified"),
    ]
    assert found.classes[0].children[0].title == "Seats"
    assert [name for name, _ in found.applicants] == ["Acme", "Zeta", "Beta"]


def test_a_facet_is_counted_under_all_filters_but_its_own(register: Register) -> None:
    found = facets(register, Filters(classes=["06"], after="2020"))
    assert found.compared_designs == 2
    assert flat(found.classes) == {"06": 2, "06-01": 1, "06-04": 1}  # and the one without a class
    assert found.unknown == {"class": 1, "year": 0}
    assert dict(found.years) == {2019: 1, 2020: 2}
    assert dict(found.applicants) == {"Acme": 1}


def test_labels_that_are_not_locarno_have_no_heading(tmp_path: Path) -> None:
    bundle = fakes.tiny_bundle(tmp_path / "b")
    register = Register.create(tmp_path / "r", bundle)
    made = fakes.design(1, [fakes.sheet(fakes.drawing(1))], ("06", "chairs"), locarno=None)
    register.add([made], fakes.FakeEncoder(bundle.fingerprint))
    assert facets(register).classes[0].title == ""
