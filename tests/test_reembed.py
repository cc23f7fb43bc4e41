"""A register brought to another encoder from its small pictures: what stays, what is told."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_retrieval import reembedding
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.drawing import fit, from_png
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import (
    BundleMismatchError,
    ConfigError,
    EdgeRetrievalError,
    RegisterError,
)
from edge_retrieval.evidence import make_record, to_json
from edge_retrieval.evidence.record import Asked
from edge_retrieval.indexing import index
from edge_retrieval.query import query_from_bytes
from edge_retrieval.reembedding import reembed
from edge_retrieval.register import Register, renewing
from edge_retrieval.register.renewing import origin_of
from edge_retrieval.sample import sample_folder, sample_query
from edge_retrieval.search import search
from edge_retrieval.sources.design import Problem
from tests import fakes
from tests.calling import Run, calling
from tests.test_faults import AFTER, BEFORE, FULL, at_every_step, interruptible

__all__ = ["interruptible"]  # a fixture: SIGINT is here what it is in a shell


class Places:
    """A folder with the register `old`: 7 designs of 3 figures, one more removed; and `bundle`."""

    def __init__(self, folder: Path) -> None:
        self.old, self.bundle = folder / "old", folder / "bundle"
        first = fakes.tiny_bundle(folder / "first", name="first")
        fakes.int8_bundle(self.bundle)
        gone = Problem("made/torn.png", "cannot be unpacked")
        with Register.create(self.old, first) as register:
            encoder = fakes.FakeEncoder(first.fingerprint)
            register.add([*fakes.designs(8), gone], encoder, source="made")
            register.remove(["D0003"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def places(shared: Places, tmp_path: Path) -> Iterator[Places]:
    """The same, to be changed."""
    copy = Places.__new__(Places)
    copy.old = Path(shutil.copytree(shared.old, tmp_path / "old"))
    copy.bundle = shared.bundle
    yield copy


def test_all_that_is_known_of_designs_stays_and_removed_ones_stay_out(
    shared: Places, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in shared.old.iterdir() if path.is_file()}
    done = reembed(shared.old, tmp_path / "new", bundle=shared.bundle)
    assert done == (21, 0, "")
    with Register.open(shared.old) as old, Register.open(tmp_path / "new") as new:
        assert new.verify() == []
        assert (new.designs_count, new.figures_count) == (7, 21)
        assert new.levels == old.levels
        assert new.problems() == old.problems() != []
        assert new.bundle.name == "int8"
        for number in ("D0000", "D0007"):
            assert new.design(number) == old.design(number)
            rows = [register.rows_of_design(number) for register in (old, new)]
            for ours, theirs in zip(old.figures(rows[0]), new.figures(rows[1]), strict=True):
                assert theirs == theirs.__class__(**{**vars(ours), "row": theirs.row})
                assert new.picture(theirs.row) == old.picture(ours.row)
        with pytest.raises(RegisterError, match="no design D0003"):
            new.design("D0003")
    for name, content in before.items():
        assert (shared.old / name).read_bytes() == content


def test_vectors_are_what_the_new_encoder_makes_of_the_pictures(
    shared: Places, tmp_path: Path
) -> None:
    reembed(shared.old, tmp_path / "new", bundle=shared.bundle)
    encoder = load_encoder(Bundle.open(shared.bundle))
    with Register.open(tmp_path / "new") as new:
        for row in range(21):  # one by one, by the plain way
            image = fit(from_png(new.picture(row)), encoder.preprocessing)
            expected = encoder.embed(image[None])[0]
            np.testing.assert_allclose(new.vectors[row], expected, atol=1e-6)


def test_vectors_of_drawings_are_nearly_those_of_their_sheets(tmp_path: Path) -> None:
    """What an encoder sees in 320 pixels and 16 greys is nearly what it sees in the sheet."""
    drawings = tmp_path / "drawings" / "06-01" / "stool"
    drawings.mkdir(parents=True)
    for sheet in sorted((sample_folder() / "sheets").glob("MADE-0601-00001-*.png"))[:2]:
        shutil.copy(sheet, drawings)
    tiny = fakes.tiny_bundle(tmp_path / "tiny").folder
    index(tmp_path / "drawings", tmp_path / "old", bundle=tiny, jobs=1)
    index(tmp_path / "drawings", tmp_path / "sheets", jobs=1)
    reembed(tmp_path / "old", tmp_path / "new", bundle=default_bundle_path())
    with Register.open(tmp_path / "sheets") as sheets, Register.open(tmp_path / "new") as new:
        assert len(new) == len(sheets) >= 3
        cosines = (sheets.vectors * new.vectors).sum(axis=1)
        assert cosines.min() > 0.95
        assert (new.vectors != sheets.vectors).any()  # nor are they the same
    # The bytes of the sheets are known: to index them again adds nothing.
    assert index(tmp_path / "drawings", tmp_path / "new", jobs=1).figures_added == 0


def test_what_was_stopped_is_out_of_sight_and_the_same_again_goes_on(
    shared: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "TOGETHER", 6)
    real, seen = load_encoder(Bundle.open(shared.bundle)), []

    class Stopping:
        """Embeds two groups and is then interrupted."""

        preprocessing, dim, fingerprint = real.preprocessing, real.dim, real.fingerprint

        def embed(self, images: Images) -> Embeddings:
            seen.append(len(images))
            if len(seen) == 3:
                raise KeyboardInterrupt
            return real.embed(images)

    with monkeypatch.context() as patch:
        patch.setattr(reembedding, "load_encoder", lambda *_, **__: Stopping())
        with pytest.raises(KeyboardInterrupt):
            reembed(shared.old, tmp_path / "new", bundle=shared.bundle)
    assert not (tmp_path / "new").exists()
    assert reembed(shared.old, tmp_path / "new", bundle=shared.bundle)[:2] == (9, 12)
    assert not (tmp_path / "new.work").exists()
    reembed(shared.old, tmp_path / "at once", bundle=shared.bundle)
    with Register.open(tmp_path / "new") as new, Register.open(tmp_path / "at once") as other:
        assert new.contents == other.contents
        assert new.verify() == []


@pytest.mark.skipif(os.name == "nt", reason="no signal for one process")
def test_no_fault_at_any_step_shows_half_a_register_and_the_same_again_completes_it(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    first = fakes.tiny_bundle(source / "first")
    fakes.tiny_bundle(source / "bundle", golden=3)
    with Register.create(source / "old", first) as register:
        register.add(fakes.designs(2, views=1), fakes.FakeEncoder(first.fingerprint))

    def work(place: Path) -> None:
        reembed(place / "old", place / "new", bundle=place / "bundle")

    for place, step, good in at_every_step(
        source, tmp_path / "place", work, BEFORE, FULL, AFTER, errors=EdgeRetrievalError, in_turn=1
    ):
        assert (place / "new").exists() or not good, step
        if not (place / "new").exists():
            work(place)
        with Register.open(place / "new") as new:
            assert new.verify() == [], step
            assert new.designs_count == 2, step
        assert not (place / "new.work").exists(), step
        with Register.open(place / "old") as old:
            assert old.verify() == [], step


def test_a_register_an_answer_and_a_record_tell_that_pictures_were_embedded(
    shared: Places, tmp_path: Path
) -> None:
    reembed(shared.old, tmp_path / "new", bundle=shared.bundle)
    with Register.open(shared.old) as old:
        assert old.made_from is None
        origin = origin_of(old)
        assert "made_from" not in to_json([], register=old)
        assert "made_from" not in make_record([], register=old, asked=Asked())["register"]
    assert origin["bundle"]["name"] == "first"
    with Register.open(tmp_path / "new") as new:
        assert new.made_from == origin
        assert to_json([], register=new)["made_from"] == origin
        assert make_record([], register=new, asked=Asked())["register"]["made_from"] == origin
        new.compact()
    with Register.open(tmp_path / "new") as new:
        assert new.made_from == origin


def test_the_old_encoder_never_meets_the_new_vectors(shared: Places, tmp_path: Path) -> None:
    reembed(shared.old, tmp_path / "new", bundle=shared.bundle)
    with Register.open(shared.old) as old, Register.open(tmp_path / "new") as new:
        encoder = load_encoder(old.bundle)
        query = query_from_bytes(sample_query().read_bytes(), "chair")
        with pytest.raises(BundleMismatchError, match="made by the bundle int8"):
            search(new, [query], encoder=encoder)
        with pytest.raises(BundleMismatchError):
            new.merge_from(old)


def test_a_register_of_schema_1_and_one_of_cut_vectors_can_be_brought_along(
    shared: Places, tmp_path: Path
) -> None:
    for name, dim in (("register-1", None), ("register-3", None)):
        old = Path(shutil.copytree(fakes.PINNED / name, tmp_path / name))
        reembed(old, tmp_path / f"{name}-new", bundle=shared.bundle, dim=dim)
        with Register.open(old) as one, Register.open(tmp_path / f"{name}-new") as other:
            assert other.verify() == []
            assert other.designs_count == one.designs_count


def test_the_first_numbers_of_the_new_encoder_can_be_kept(shared: Places, tmp_path: Path) -> None:
    bundle = fakes.tiny_bundle(tmp_path / "cut", golden=3, prefixes=(16,))
    reembed(shared.old, tmp_path / "new", bundle=bundle.folder, dim=16)
    with Register.open(tmp_path / "new") as new:
        assert new.vectors.shape == (21, 16)
        assert np.linalg.norm(new.vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_pictures_smaller_than_what_an_encoder_looks_at_are_told(places: Places) -> None:
    assert reembedding._note(fakes.PREPROCESSING.__class__(size=320)) == ""
    assert "looks at figures of 412 pixels" in reembedding._note(
        fakes.PREPROCESSING.__class__(size=448)
    )


def test_what_cannot_be_done_is_refused_and_leaves_nothing(places: Places, tmp_path: Path) -> None:
    first = Register.open(places.old).bundle.folder
    with pytest.raises(ConfigError, match="is of the encoder first already"):
        reembed(places.old, tmp_path / "new", bundle=first)
    with pytest.raises(RegisterError, match="exists already"):
        reembed(places.old, places.old, bundle=places.bundle)
    empty = Register.create(tmp_path / "empty", Bundle.open(first))
    with pytest.raises(RegisterError, match="holds no design"):
        reembed(empty.folder, tmp_path / "new", bundle=places.bundle)
    assert not (tmp_path / "new.work").exists()


def test_what_was_begun_for_another_state_of_the_register_is_not_gone_on_with(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reembedding, "_put", lambda *_: None)
        reembed(places.old, tmp_path / "new", bundle=places.bundle)
    with Register.open(places.old) as old:
        old.remove(["D0001"])
    with pytest.raises(RegisterError, match="another state of the register") as caught:
        reembed(places.old, tmp_path / "new", bundle=places.bundle)
    assert "remove that folder" in caught.value.hint
    shutil.rmtree(tmp_path / "new.work")
    assert reembed(places.old, tmp_path / "new", bundle=places.bundle).figures == 18


def test_damage_of_the_old_register_is_found_and_not_carried_over(
    places: Places, tmp_path: Path
) -> None:
    path = places.old / "pictures-0.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # of D0007
    path.write_bytes(data)
    with pytest.raises(RegisterError, match="damaged: the picture of row 23") as caught:
        reembed(places.old, tmp_path / "new", bundle=places.bundle)
    assert "verify" in caught.value.hint
    assert not (tmp_path / "new").exists()


def test_an_encoder_that_gives_no_numbers_is_refused(
    shared: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = fakes.BrokenEncoder(Bundle.open(shared.bundle).fingerprint)
    monkeypatch.setattr(reembedding, "load_encoder", lambda *_, **__: broken)
    with pytest.raises(RegisterError, match="figure 1 of D0000 is not of length 1"):
        reembed(shared.old, tmp_path / "new", bundle=shared.bundle)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, places: Places) -> Run:
    """Call `edge-ret register ARGS` beside the register `old` and the bundle `bundle`."""
    monkeypatch.chdir(places.old.parent)
    shutil.copytree(places.bundle, "bundle")

    return calling(monkeypatch, capsys, "register")


def test_the_command_says_what_it_made_and_info_from_what(run: Run) -> None:
    done = run("reembed", "old", "--bundle", "bundle", "-o", "new")
    assert done.code == 0
    assert done.out.splitlines() == [
        "new: 21 figures embedded by int8 from the pictures of old",
        "now 7 designs, 21 figures",
    ]
    assert "next: edge-ret search drawing.png --register new" in done.err
    shown = " ".join(run("info", "new").out.split())
    assert "made from kept pictures of old, which first had embedded" in shown
    assert "made from" not in run("info", "old").out
    told = json.loads(run("info", "new", "--json").out)
    assert told["made from"]["register"]["figures"] == 21
    again = run("reembed", "old", "--bundle", "bundle", "-o", "new")
    assert (again.code, again.out) == (1, "")
    assert again.err.splitlines()[-2:] == [
        "error: new: exists already",
        "hint: choose another folder with -o; the old register is never written over",
    ]
    told = json.loads(run("reembed", "old", "--bundle", "bundle", "-o", "more", "--json").out)
    assert (told["designs"], told["embedded"], told["earlier"]) == (7, 21, 0)
    assert told["made_from"]["how"] == "kept pictures"
