"""Search: designs, not figures; always k of them if there are k; exactly what was asked for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import embed_figures
from edge_retrieval.errors import (
    BundleMismatchError,
    ConfigError,
    DrawingError,
    RegisterError,
    TaxonomyError,
)
from edge_retrieval.filters import Filters
from edge_retrieval.index.graph import HnswIndex
from edge_retrieval.register import DesignRecord, Register
from edge_retrieval.search import (
    Query,
    SearchResult,
    query_from_bytes,
    query_of_design,
    search,
    together,
)
from edge_retrieval.sources import open_source
from edge_retrieval.voting import vote
from tests import fakes

DESIGNS = 24


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture(scope="module")
def register(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, encoder: fakes.FakeEncoder
) -> Register:
    """24 designs with 3 figures each, and one with 40, alike but for a hair."""
    register = Register.create(tmp_path_factory.mktemp("register") / "r", bundle)
    crowd = fakes.design(
        "CROWD",
        [fakes.sheet(fakes.drawing(99, v), f"{v}.png", single=True) for v in range(40)],
        ("31", "31-00"),
    )
    register.add([*fakes.designs(DESIGNS), crowd], encoder)
    return register


def query(*figures: tuple[int, int]) -> Query:
    """A query of several figures, each a view of a design."""
    cut = [
        query_from_bytes(fakes.drawing(design, view), "q.png", cut=False).figures[0]
        for design, view in figures
    ]
    return Query("q.png", cut)


def numbers(result: SearchResult) -> list[str]:
    return [hit.design.number for hit in result.hits]


def slowly(
    register: Register, query: Query, encoder: fakes.FakeEncoder, rows: list[int]
) -> list[tuple[str, float]]:
    """Score of every design by plain loops over `rows`, best first."""
    views = embed_figures(encoder, query.figures)
    best: dict[str, list[float]] = {}
    for place, vector in enumerate(views):
        for figure in register.figures(rows):
            score = float(vector.astype(float) @ register.vectors[figure.row].astype(float))
            own = best.setdefault(figure.design, [-2.0] * len(views))
            own[place] = max(own[place], score)
    scores = {design: (max(own) + sum(own) / len(own)) / 2 for design, own in best.items()}
    return sorted(scores.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("k", [1, 10, DESIGNS + 1, 1000])
def test_designs_are_ranked_by_their_best_pair_and_the_agreement_of_all_views(
    register: Register, encoder: fakes.FakeEncoder, k: int
) -> None:
    asked = query((3, 50), (7, 51))
    [result] = search(register, [asked], encoder, k=k)
    expected = slowly(register, asked, encoder, register.living_rows().tolist())[:k]
    assert numbers(result) == [number for number, _ in expected]
    assert np.allclose([hit.score for hit in result.hits], [s for _, s in expected], atol=1e-6)
    assert [hit.rank for hit in result.hits] == list(range(1, min(k, DESIGNS + 1) + 1))


def test_the_pair_that_is_shown_has_the_score_that_is_shown(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    asked = query((3, 50), (7, 51))
    vectors = embed_figures(encoder, asked.figures)
    [result] = search(register, [asked], encoder, k=5)
    for hit in result.hits:
        pair = vectors[hit.query_figure] @ register.vectors[hit.figure.row]
        assert hit.pair == pytest.approx(float(pair), abs=1e-6)
        assert hit.pair == max(view.score for view in hit.views if not view.mirrored)
        assert hit.figure.design == hit.design.number


def test_a_design_of_many_alike_figures_does_not_crowd_out_the_others(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    [result] = search(register, [query((99, 50))], encoder, k=6)
    assert numbers(result)[0] == "CROWD"
    assert len(set(numbers(result))) == 6


def test_a_batch_of_queries_gives_what_each_gives_alone(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    queries = [query((1, 60)), query((2, 61), (99, 62)), query((5, 63))]
    together = search(register, queries, encoder, k=7)
    alone = [search(register, [one], encoder, k=7)[0] for one in queries]
    assert together == alone


def test_embeddings_that_are_at_hand_are_used(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    asked = query((1, 60), (2, 61))
    vectors = embed_figures(encoder, asked.figures)
    told = search(register, [asked], encoder, mirrored=False)
    assert search(register, [asked], embeddings=[vectors]) == told


def test_no_queries_give_no_answers(register: Register, encoder: fakes.FakeEncoder) -> None:
    assert search(register, [], encoder) == []


def test_a_filter_leaves_only_its_classes_and_still_gives_k(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    asked = query((99, 50))
    [result] = search(register, [asked], encoder, k=8, filters=Filters(classes=["06-01", "12"]))
    paths = register.label_paths()
    rows = [row for row, path in enumerate(paths) if path[1] == "06-01" or path[0] == "12"]
    assert numbers(result) == [n for n, _ in slowly(register, asked, encoder, rows)][:8]
    assert {hit.design.locarno for hit in result.hits} == {"06-01", "12-08"}
    assert (result.compared_designs, result.compared_figures) == (12, 36)
    assert result.exact


def test_a_class_without_designs_is_an_error(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    with pytest.raises(TaxonomyError, match="'09'"):
        search(register, [query((1, 1))], encoder, filters=Filters(classes=["09"]))


def test_a_drawing_that_is_registered_finds_itself(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    asked = query_from_bytes(fakes.drawing(4, 1), "4-1.png", cut=False)
    [result] = search(register, [asked], encoder)
    assert result.hits[0].figure.sheet == "4-1.png"
    assert result.hits[0].score == pytest.approx(1.0, abs=1e-5)


def test_excluding_itself_leaves_out_the_same_sheet_and_keeps_the_design(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    for design in range(DESIGNS):
        asked = query_from_bytes(fakes.drawing(design, 1), "renamed.png", cut=False)
        [result] = search(register, [asked], encoder, exclude_self=True, k=DESIGNS + 1)
        assert numbers(result)[0] == f"D{design:04d}"
        assert result.hits[0].figure.sheet in (f"{design}-0.png", f"{design}-2.png")
        assert (result.compared_designs, result.compared_figures) == (25, 111)
        assert len(result.hits) == DESIGNS + 1


def test_excluded_designs_are_not_found_and_not_counted(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    asked = query((99, 50))
    without = Filters(not_designs=["CROWD", "D0001"])
    [result] = search(register, [asked], encoder, k=DESIGNS, filters=without)
    assert len(result.hits) == DESIGNS - 1
    assert not {"CROWD", "D0001"} & set(numbers(result))
    assert (result.compared_designs, result.compared_figures) == (23, 69)


def test_a_filter_that_exclusion_empties_gives_no_hits(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    nothing = Filters(classes=["31"], not_designs=["CROWD"])
    [result] = search(register, [query((99, 50))], encoder, filters=nothing)
    assert (result.hits, result.compared_designs, result.compared_figures) == ([], 0, 0)


def test_the_statement_says_what_was_compared(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    [result] = search(register, [query((1, 1))], encoder)
    assert result.statement == "compared exactly with all 25 designs (112 figures)"
    graph = HnswIndex.build(register.vectors)
    [result] = search(register, [query((1, 1))], encoder, index=graph)
    assert not result.exact
    assert result.statement.startswith("approximate")


def test_a_graph_gives_k_designs_too(register: Register, encoder: fakes.FakeEncoder) -> None:
    graph = HnswIndex.build(register.vectors)
    [result] = search(register, [query((99, 50))], encoder, k=DESIGNS + 1, index=graph)
    assert len(set(numbers(result))) == DESIGNS + 1


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_design_is_an_error(
    register: Register, encoder: fakes.FakeEncoder, k: int
) -> None:
    with pytest.raises(ConfigError):
        search(register, [query((1, 1))], encoder, k=k)


def test_an_empty_register_is_told(
    tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    with (
        Register.create(tmp_path / "r", bundle) as empty,
        pytest.raises(RegisterError, match="empty"),
    ):
        search(empty, [query((1, 1))], encoder)


def test_an_encoder_of_another_bundle_is_refused(register: Register) -> None:
    with pytest.raises(BundleMismatchError):
        search(register, [query((1, 1))], fakes.FakeEncoder("0" * 64))


def test_a_query_that_is_no_image_is_told_with_its_name() -> None:
    with pytest.raises(DrawingError, match=r"letter\.txt"):
        query_from_bytes(b"Dear Sir", "letter.txt")


def test_a_sheet_of_two_figures_is_a_query_of_two_figures() -> None:
    data = fakes.drawing(1, figures=2, side=600)
    assert len(query_from_bytes(data, "sheet.png").figures) == 2
    assert len(query_from_bytes(data, "sheet.png", cut=False).figures) == 1


@pytest.mark.real
def test_real_grants_are_indexed_with_as_many_figures_as_the_office_states(
    real_data: Path, tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    with Register.create(tmp_path / "r", bundle) as register:
        result = register.add(open_source(real_data / "uspto-grants"), encoder)
        assert (result.designs_added, result.sheets_read, result.figures_added) == (3, 17, 23)
        assert not result.problems
        assert not result.notes
        codes = {register.design(path[-1]).locarno for path in register.label_paths()}
        assert codes == {"07-03", "23-01"}
        again = register.add(open_source(real_data / "uspto-grants"), encoder)
        assert (again.unchanged, again.figures_added) == (17, 0)


def test_a_mirrored_view_is_recognised_and_told(bundle: Bundle, tmp_path: Path) -> None:
    """The register holds the mirror image of one view of the query, and its own file."""
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    page = Image.open(io.BytesIO(fakes.drawing(3, 1)))
    file = io.BytesIO()
    page.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file, "PNG")
    own = fakes.sheet(fakes.drawing(3, 1), "own.png", single=True)
    flipped = fakes.sheet(file.getvalue(), "flipped.png", single=True)
    with Register.create(tmp_path / "r", bundle) as register:
        register.add([fakes.design(1, [own, flipped]), *fakes.designs(3)[2:]], encoder)
        views = [fakes.drawing(3, 1), fakes.drawing(8, 1)]
        asked = together([query_from_bytes(view, f"{i}.png") for i, view in enumerate(views)])
        [found] = search(register, [asked], encoder)
        [other] = search(register, [asked], encoder, exclude_self=True)
    first = found.hits[0].views[0]
    assert (first.figure.sheet, first.mirrored) == ("own.png", False)
    hit = next(hit for hit in other.hits if hit.design.number == "D0001")
    assert (hit.views[0].figure.sheet, hit.views[0].mirrored) == ("flipped.png", True)
    assert hit.views[0].score == pytest.approx(1, abs=1e-5)
    assert hit.score < 0.99  # told, not counted


def test_a_view_that_repeats_another_counts_once(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    [once] = search(register, [query((3, 50), (7, 51))], encoder, k=9)
    [twice] = search(register, [query((3, 50), (7, 51), (7, 51))], encoder, k=9)
    assert twice.same_views == (None, None, 1)
    assert [hit.score for hit in twice.hits] == [hit.score for hit in once.hits]
    assert all(len(hit.views) == 3 for hit in twice.hits)


def test_a_design_of_the_register_finds_others_than_itself(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    asked, vectors = query_of_design(register, "D0005")
    [found] = search(register, [asked], encoder, embeddings=[vectors], k=50)
    assert "D0005" not in numbers(found)
    assert (found.compared_designs, found.compared_figures) == (24, 109)
    rows = [
        row
        for row in register.living_rows().tolist()
        if register.figures([row])[0].design != "D0005"
    ]
    expected = slowly(register, Query("q", asked.figures), encoder, rows)
    assert numbers(found)[0] == expected[0][0]
    with pytest.raises(ConfigError, match="D0999"):
        query_of_design(register, "D0999")


def test_the_nearest_vote_on_the_class(register: Register, encoder: fakes.FakeEncoder) -> None:
    [found] = search(register, [query((3, 50))], encoder, k=1)
    assert len(found.hits) == 1  # the vote is of ten all the same
    assert found.predicted is not None and found.predicted.of == 10
    [found] = search(register, [query((3, 50))], encoder, filters=Filters(classes=["06-01"]))
    assert found.predicted is not None
    assert found.predicted.sentence.startswith("6 of the 6 nearest designs are in 06-01 Seats")


def test_a_vote_tells_the_finest_class_that_most_agree_on() -> None:
    def voters(*labels: str) -> list[DesignRecord]:
        return [DesignRecord("D", tuple(one.split()), 1, "") for one in labels]

    def told(*labels: str) -> tuple[str, int, int, bool]:
        found = vote(voters(*labels))
        assert found is not None
        return found.code, found.votes, found.of, found.clear

    assert told("a a1", "a a1", "b b1") == ("a1", 2, 3, True)
    assert told("a a1", "a a2", "b b1") == ("a", 2, 3, True)
    assert told("b b1", "a a2", "c c1") == ("b1", 1, 3, False)
    assert told("", "a a1", "", "a a2", "a a1") == ("a1", 2, 3, True)
    assert vote(voters("", "", "")) is None
    assert vote(voters("a a1", "a a1", "")) is None  # two agree too easily
    assert told(*["a a1"] * 3, *["b b1"] * 7, *["a a1"] * 20)[0] == "b1"  # ten vote
