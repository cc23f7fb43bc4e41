"""Filters against plain loops over the designs, and what they say when nothing is named so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_retrieval.errors import ConfigError, TaxonomyError
from edge_retrieval.filters import Filters, find_design
from edge_retrieval.register.classes import nodes_within
from edge_retrieval.register.columns import Columns

PATHS = ((), ("06",), ("06", "06-01"), ("06", "06-04"), ("07",), ("07", "07-03"))
SOURCES = ("grants", "Meier 2020")
APPLICANTS = ("Sony Corporation", "Braun GmbH", "SONY Interactive", "Meier, Anna")
WHERE = Path("register")


def made(count: int, seed: int) -> Columns:
    """Return the columns of `count` designs of any kind, of none to three figures each."""
    rng = np.random.default_rng(seed)
    applicants = [rng.permutation(4)[: rng.integers(0, 3)] for _ in range(count)]
    numbers = [f"USD{n:07d}" for n in rng.permutation(count)]
    dates = rng.choice([0, 20191231, 20200101, 20210304, 20210305], (2, count))
    design_of = np.repeat(np.arange(count), rng.integers(0, 4, count))
    return Columns(
        design_of=design_of.astype(np.int32),
        sheet_of=np.zeros(len(design_of), np.uint64),
        crc_of=np.zeros(len(design_of), np.uint32),
        batch_first=np.zeros(1, np.int64),
        batch_crc=np.zeros(1, np.uint32),
        alive=rng.random(count) < 0.8,
        node=rng.integers(0, len(PATHS), count).astype(np.int32),
        published=dates[0].astype(np.int32),
        filed=dates[1].astype(np.int32),
        source=rng.integers(0, 2, count).astype(np.int32),
        sources=SOURCES,
        applicants=APPLICANTS,
        applicant_of=np.array([a for each in applicants for a in each], np.int32),
        applicant_starts=np.cumsum([0, *map(len, applicants)]),
        paths=PATHS,
        number_text=np.frombuffer("".join(numbers).encode(), np.uint8),
        number_starts=np.arange(count + 1) * 10,
        by_number=np.argsort(numbers).astype(np.int32),
    )


def meets(filters: Filters, columns: Columns, design: int) -> bool | None:
    """Tell whether a design meets the filters; None: it would, if its date were known."""
    labels = PATHS[columns.node[design]]
    names = [
        APPLICANTS[place].lower()
        for place in columns.applicant_of[
            columns.applicant_starts[design] : columns.applicant_starts[design + 1]
        ]
    ]
    source, number = SOURCES[columns.source[design]].lower(), columns.number(design)

    def has(wanted: object, found: bool, *, must: bool) -> bool:
        return not wanted or found == must

    of_class = [any(c in labels for c in each) for each in (filters.classes, filters.not_classes)]
    by = [
        any(text.lower() in name for text in each for name in names)
        for each in (filters.applicants, filters.not_applicants)
    ]
    of = [source in map(str.lower, each) for each in (filters.sources, filters.not_sources)]
    if not (
        columns.alive[design]
        and has(filters.classes, of_class[0], must=True)
        and has(filters.not_classes, of_class[1], must=False)
        and has(filters.applicants, by[0], must=True)
        and has(filters.not_applicants, by[1], must=False)
        and has(filters.sources, of[0], must=True)
        and has(filters.not_sources, of[1], must=False)
        and has(filters.designs, number in filters.designs, must=True)
        and has(filters.not_designs, number in filters.not_designs, must=False)
    ):
        return False
    if not (filters.before or filters.after):
        return True
    date = int(columns.published[design]) or int(columns.filed[design])
    if not date:
        return None
    day = f"{date // 10000}-{date // 100 % 100:02}-{date % 100:02}"
    return (not filters.before or day < filters.before) and (
        not filters.after or day >= filters.after
    )


some_classes = st.lists(st.sampled_from(["06", "06-01", "07-03", "07"]), max_size=2)
some_applicants = st.lists(st.sampled_from(["sony", "GMBH", "Anna"]), max_size=2)
some_sources = st.lists(st.sampled_from(["Grants", "meier 2020"]), max_size=1)
some_dates = st.none() | st.sampled_from(["2020-01-01", "2021-03-04", "2021-03-05"])


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
    asked=st.fixed_dictionaries(
        {},
        optional={
            "classes": some_classes,
            "not_classes": some_classes,
            "applicants": some_applicants,
            "not_applicants": some_applicants,
            "sources": some_sources,
            "not_sources": some_sources,
            "before": some_dates,
            "after": some_dates,
        },
    ),
    named=st.lists(st.integers(0, 39), max_size=4),
    left_out=st.lists(st.integers(0, 39), max_size=4),
)
def test_filters_leave_what_plain_loops_leave(count, seed, asked, named, left_out):
    columns = made(count, seed)
    living = [columns.number(d) for d in range(count) if columns.alive[d]]
    filters = Filters(
        **asked,
        designs=[living[n] for n in named if n < len(living)],
        not_designs=[living[n] for n in left_out if n < len(living)],
    )
    chosen = filters.choose(columns, where=WHERE)
    met = [meets(filters, columns, design) for design in range(count)]
    rows = [row for row, design in enumerate(columns.design_of) if met[design]]
    if filters:
        assert chosen.rows is not None
        assert chosen.rows.tolist() == rows
        assert chosen.designs == len({int(columns.design_of[row]) for row in rows})
    else:
        assert chosen.rows is None
        assert chosen.designs == sum(map(bool, met))
    assert chosen.figures == len(rows)
    assert chosen.undated == sum(each is None for each in met)


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        (Filters(), ""),
        (Filters(classes=["06-01"], before="2021-03-04"), "in 06-01 before 2021-03-04"),
        (Filters(classes=["06", "07"], after="2021"), "in 06 or 07 from 2021-01-01 on"),
        (
            Filters(not_classes=["06"], applicants=["sony"], not_applicants=["anna"]),
            "not in 06 by sony not by anna",
        ),
        (Filters(sources=["a"], not_sources=["b"]), "of source a not of source b"),
        (Filters(designs=["1", "2", "3"]), "among 1, 2 or 3"),
        (Filters(not_designs=list("123456789")), "without 1, 2, 3, 4, 5 or 4 more"),
    ],
)
def test_a_filter_says_what_it_leaves(filters, text):
    assert filters.text == text
    assert bool(filters) == bool(text)


@pytest.mark.parametrize(
    ("filters", "error", "message", "hint"),
    [
        (Filters(classes=["09"]), TaxonomyError, "no design is in class '09'", "classes here: 06"),
        (Filters(classes=["nonsense"]), TaxonomyError, "'nonsense'", "06, 07"),
        (Filters(classes=["06-01,09"]), TaxonomyError, "'09'", "classes here: 06"),
        (Filters(applicants=["soni"]), ConfigError, "no applicant 'soni'", "Sony Corporation"),
        (Filters(applicants=["Mayer"]), ConfigError, "no applicant 'Mayer'", "Meier, Anna"),
        (Filters(applicants=[" "]), ConfigError, "no applicant ' '", "applicants here"),
        (Filters(sources=["grant"]), ConfigError, "no source 'grant'", "near it: grants"),
        (Filters(sources=["xyz"]), ConfigError, "no source 'xyz'", "Meier 2020, grants"),
        (
            Filters(designs=["USD0000002x"]),
            ConfigError,
            "no design 'USD0000002x'",
            "near it: USD000000",
        ),
        (Filters(before="yesterday"), ConfigError, "no date: 'yesterday'", "write 2021-03-04"),
        (Filters(after="2021-13"), ConfigError, "no such day: '2021-13'", "write 2021-03-04"),
        (Filters(after="2021-02-29"), ConfigError, "no such day", "write"),
        (Filters(before=""), ConfigError, "no date: ''", "write"),
    ],
)
def test_what_is_not_there_is_told_with_what_is_near(filters, error, message, hint):
    columns = made(12, 1)
    with pytest.raises(error) as caught:
        filters.choose(columns, where=WHERE)
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["2021-3-4", " 2021-03-04 ", "2021-03-04"])
def test_a_date_may_be_spelt_short(text):
    assert Filters(before=text).text == "before 2021-03-04"


def test_a_number_may_be_spelt_in_small_letters():
    columns = made(12, 1)
    number = next(columns.number(d) for d in range(12) if columns.alive[d])
    assert Filters(designs=[number.lower()]).choose(columns, where=WHERE).undated == 0


@pytest.mark.parametrize(
    "text", ["USD0000007", "usd0000007", "D7", "7", " us d7 ", "D0,000,007", "USD0000007S1"]
)
def test_a_number_may_be_written_as_people_do(text):
    columns = next(
        c for c in (made(12, seed) for seed in range(9)) if c.find("USD0000007") is not None
    )
    place = columns.find("USD0000007")
    assert find_design(columns, text, where=WHERE) == place


def test_what_is_to_be_left_out_and_is_not_there_is_told_and_leaves_the_rest():
    columns = made(40, 2)
    filters = Filters(
        not_applicants=["nobody", "sony"], not_classes=["09"], not_designs=["USD9999999"]
    )
    chosen = filters.choose(columns, where=WHERE)
    alone = Filters(not_applicants=["sony"]).choose(columns, where=WHERE)
    assert chosen.rows.tolist() == alone.rows.tolist()
    assert len(chosen.notes) == 3
    assert all("nothing was left out for it" in note for note in chosen.notes)
    assert alone.notes == ()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (["06-01,07"], ["06-01", "07"]),
        (["06-01; 07-03"], ["06-01", "07-03"]),
        (["Class 6"], ["06"]),
        (["6-1"], ["06-01"]),
    ],
)
def test_classes_may_be_listed_and_spelt_freely(text, same):
    columns = made(60, 3)
    for sense in ("classes", "not_classes"):
        given, plain = (
            Filters(**{sense: names}).choose(columns, where=WHERE) for names in (text, same)
        )
        assert given.rows.tolist() == plain.rows.tolist()


@pytest.mark.parametrize("text", ["D1", "d01", "D1/121", "D1-121", "D01-121", "D1 121"])
def test_us_classes_may_be_spelt_freely(text):
    paths = {0: (), 1: ("D01",), 2: ("D01", "D01/121"), 3: ("D10",)}
    found = nodes_within(paths, [text], where=WHERE)
    assert found == ([1, 2] if text.lower() in ("d1", "d01") else [2])
