"""The first numbers of an embedding as an embedding: where it was trained so, and never mixed."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from edge_retrieval import Session
from edge_retrieval.bundle import Bundle
from edge_retrieval.calibrating import calibrate
from edge_retrieval.doctor import examine
from edge_retrieval.drawing import fit_batch
from edge_retrieval.encoder import choose_backend, golden_check, load_encoder
from edge_retrieval.encoder.prefix import cut_rows
from edge_retrieval.errors import BundleError, BundleMismatchError, ConfigError, RegisterError
from edge_retrieval.evaluate import evaluate_register
from edge_retrieval.register import Register
from edge_retrieval.register.manifest import SCHEMA
from edge_retrieval.search import query_from_bytes, search
from tests import fakes
from tests.calling import Run
from tests.test_calibration import write_designs
from tests.test_cli import is_one_line_and_a_hint
from tests.test_cli import run as run  # fixture

PREFIXES = (16, 32)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return fakes.tiny_bundle(tmp_path / "b", prefixes=PREFIXES)


def images(count: int = 5) -> np.ndarray:
    shape = (count, 1, fakes.PREPROCESSING.size, fakes.PREPROCESSING.size)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_a_prefix_is_the_first_numbers_made_of_length_1_again(bundle: Bundle) -> None:
    whole = load_encoder(bundle, threads=1).embed(images())
    for dim in PREFIXES:
        encoder = load_encoder(bundle, dim=dim, threads=1)
        found = encoder.embed(images())
        assert found.dtype == np.float32
        assert found.shape == (5, encoder.dim) == (5, dim)
        for row, full in zip(found, whole, strict=True):
            length = sum(float(x) ** 2 for x in full[:dim]) ** 0.5
            assert row == pytest.approx([float(x) / length for x in full[:dim]], abs=1e-6)
        for i in range(5):
            assert np.array_equal(encoder.embed(images()[i : i + 1])[0], found[i])
        assert encoder.embed(images(0)).shape == (0, dim)


def test_rows_that_are_not_cut_stay_as_they_are() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    assert cut_rows(rows, 8) is rows
    assert np.isfinite(cut_rows(np.zeros((2, 8), np.float32), 4)).all()


def test_every_length_has_a_fingerprint_of_its_own(bundle: Bundle) -> None:
    encoders = [load_encoder(bundle, dim=dim, threads=1) for dim in (16, 32, 64)]
    assert len({encoder.fingerprint for encoder in encoders}) == 3
    assert encoders[2].fingerprint == bundle.fingerprint
    assert bundle.cut(64) == bundle
    assert bundle.cut(32).cut(16) == bundle.cut(16)
    assert bundle.cut(16).cut(64) == bundle.cut(16).whole == bundle


def test_prefixes_decide_no_vector_of_the_whole(bundle: Bundle, tmp_path: Path) -> None:
    assert fakes.tiny_bundle(tmp_path / "other").fingerprint == bundle.fingerprint
    assert Bundle.open(bundle.folder).prefixes == PREFIXES


@pytest.mark.parametrize("dim", [-1, 0, 1, 8, 63, 65])
def test_a_length_that_was_not_trained_is_refused_with_those_that_were(
    dim: int, bundle: Bundle
) -> None:
    with pytest.raises(ConfigError, match=f"the first {dim} numbers") as caught:
        load_encoder(bundle, dim=dim)
    assert "16, 32, 64" in caught.value.hint


def test_a_bundle_without_prefixes_says_how_they_are_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        fakes.tiny_bundle(tmp_path / "b").cut(32)
    assert "--set prefixes=" in caught.value.hint


@pytest.mark.parametrize("value", [7, "32", [1], [64], [128], [True], ["32"], [16.0], None])
def test_prefixes_that_make_no_sense_are_one_clear_error(value: object, bundle: Bundle) -> None:
    file = bundle.folder / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"prefixes": value}), "utf-8")
    with pytest.raises(BundleError, match=r"bundle\.json: 'prefixes' must be numbers from 2 to 63"):
        Bundle.open(bundle.folder)


def test_the_length_of_the_embedding_among_the_prefixes_says_nothing(tmp_path: Path) -> None:
    assert fakes.tiny_bundle(tmp_path / "a", prefixes=(64, 32, 16, 32)).prefixes == PREFIXES
    assert fakes.tiny_bundle(tmp_path / "b", prefixes=(64,)).prefixes == ()


def test_golden_embeddings_stay_whole(bundle: Bundle) -> None:
    cut = bundle.cut(16)
    assert cut.golden().embeddings.shape == (2, 64)
    assert golden_check(cut.whole, load_encoder(cut.whole, threads=1)) > 0.999
    assert choose_backend(cut, threads=1).backend in ("onnx", "openvino")
    assert examine(bundle.folder, backends=["onnx"]).fault is None


def test_a_measurement_covers_every_length(bundle: Bundle, tmp_path: Path) -> None:
    write_designs(tmp_path / "grants", 24)
    found = calibrate(bundle.cut(16), [tmp_path / "grants"], threads=1).calibration
    assert found.fingerprint == bundle.fingerprint
    assert {table.dim for table in found.tables} == {16, 32, 64}


# ------------------------------------------------------------------ registers


@pytest.fixture
def registers(bundle: Bundle, tmp_path: Path) -> dict[int, Path]:
    """The same designs with vectors of each length."""
    folders = {}
    for dim in (16, 32, 64):
        folders[dim] = tmp_path / f"r{dim}"
        with Register.create(folders[dim], bundle.cut(dim)) as register:
            register.add(fakes.designs(8), load_encoder(bundle, dim=dim, threads=1))
    return folders


def test_a_register_keeps_the_first_numbers_only(registers: dict[int, Path]) -> None:
    with Register.open(registers[64]) as whole:
        expected = np.array(whole.vectors)
    for dim, folder in registers.items():
        with Register.open(folder) as register:
            assert register.bundle.dim == dim
            assert register.vectors == pytest.approx(cut_rows(expected, dim), abs=1e-6)
            assert register.verify() == []
        assert (folder / "vectors-0.f32").stat().st_size == 24 * dim * 4


def test_a_search_follows_the_length_of_its_register(registers: dict[int, Path]) -> None:
    drawing = fakes.drawing(3, 7)
    query = query_from_bytes(drawing, "q", cut=False)
    for dim, folder in registers.items():
        with Session(folder, threads=1) as session:
            assert session.encoder.dim == dim
            [found] = session.search([drawing], k=8, cut=False)
            assert found.hits[0].design.number == "D0003"
            vectors = np.array(session.register.vectors, np.float64)
            own = session.encoder.embed(fit_batch(query.figures, session.encoder.preprocessing))
            best = vectors @ own[0].astype(np.float64)
            for hit in found.hits:
                assert hit.score == pytest.approx(best[hit.figure.row], abs=1e-6)
            assert found.hits[0].score == pytest.approx(best.max(), abs=1e-6)


def test_vectors_of_two_lengths_never_meet(registers: dict[int, Path], bundle: Bundle) -> None:
    for one, other in combinations(registers, 2):
        with Register.open(registers[one]) as first, Register.open(registers[other]) as second:
            before = first.snapshot
            for mixing in (
                lambda a=first, b=second: a.merge_from(b),
                lambda a=first, b=second: b.merge_from(a),
                lambda a=first, d=other: a.add(fakes.designs(9), load_encoder(bundle, dim=d)),
                lambda a=first, d=other: search(a, [], load_encoder(bundle, dim=d)),
            ):
                with pytest.raises(BundleMismatchError, match="numbers a figure") as caught:
                    mixing()
                assert str(one) in str(caught.value)
                assert str(other) in str(caught.value)
            first.refresh()
            assert first.snapshot == before


def test_registers_of_one_length_merge_are_compacted_and_mended(
    registers: dict[int, Path], bundle: Bundle, tmp_path: Path
) -> None:
    with Register.create(tmp_path / "other", bundle.cut(32)) as other:
        other.add(fakes.designs(12)[8:], load_encoder(bundle, dim=32, threads=1))
        with Register.open(registers[32]) as register:
            assert register.merge_from(other).designs_added == 4
            register.remove(["D0001"])
            register.compact()
            assert register.verify() == []
            assert register.vectors.shape == (33, 32)
    from edge_retrieval.register.repairing import repair

    (registers[32] / "columns.bin").write_bytes(b"x")
    assert repair(registers[32])
    with Register.open(registers[32]) as register:
        assert register.verify() == []


def test_a_program_that_knows_no_cut_refuses_the_register(registers: dict[int, Path]) -> None:
    """It would read vectors of 64 numbers where 16 stand."""
    told = {
        dim: json.loads((folder / "register.json").read_text("utf-8"))
        for dim, folder in registers.items()
    }
    assert {dim: one["schema"] for dim, one in told.items()} == {16: SCHEMA, 32: SCHEMA, 64: 2}
    assert SCHEMA > 2


def test_a_cut_register_whose_bundle_was_exchanged_is_refused(
    registers: dict[int, Path], tmp_path: Path
) -> None:
    plain = fakes.tiny_bundle(tmp_path / "plain")  # the same network, but no prefixes
    shutil.rmtree(registers[16] / "bundle")
    plain.copy_to(registers[16] / "bundle")
    with pytest.raises(RegisterError, match="not the one that made its vectors"):
        Register.open(registers[16])


def test_a_register_is_scored_by_fewer_numbers(registers: dict[int, Path]) -> None:
    with Register.open(registers[64]) as whole, Register.open(registers[16]) as short:
        assert evaluate_register(whole, dim=16).tables == evaluate_register(short).tables
        assert evaluate_register(whole, dim=64).tables == evaluate_register(whole).tables
        with pytest.raises(ConfigError, match="not trained"):
            evaluate_register(whole, dim=20)
        with pytest.raises(ConfigError, match="holds 16 numbers a figure, not 32"):
            evaluate_register(short, dim=32)


# ------------------------------------------------------------------ on the command line


def test_index_and_eval_take_the_length_and_a_search_follows(
    run: Run, bundle: Bundle, tmp_path: Path
) -> None:
    source = tmp_path / "grants"
    write_designs(source, 8)
    done = run("index", source, "-o", "short", "--bundle", bundle.folder, "--dim", "16")
    assert done.code == 0, done.err
    assert json.loads(run("register", "info", "short", "--json").out)["dim"] == 16
    drawing = next(source.rglob("0.png"))
    found = json.loads(run("search", drawing, "-r", "short", "--json").out)
    assert found["dim"] == 16
    assert found["results"][0]["hits"][0]["score"] == pytest.approx(1, abs=1e-5)
    again = run("index", source, "-o", "short", "--bundle", bundle.folder)
    assert again.code == 0, again.err
    assert "0 designs, 0 figures added" in again.out
    kept = json.loads(run("eval", "short", "--json").out)
    fresh = run("eval", bundle.folder, "--data", source, "--dim", "16", "--json")
    of_register = run("eval", "short", "--data", source, "--json")
    assert "the first 16 numbers" in run("eval", "short", "--dim", "16").err
    whole = json.loads(run("eval", bundle.folder, "--data", source, "--json").out)
    for one in (fresh, of_register):
        told = json.loads(one.out)
        assert (told["dim"], told["designs"]) == (16, kept["designs"])
        assert told["fingerprint"] == kept["fingerprint"] != whole["fingerprint"]


def test_a_length_that_cannot_be_is_one_line_and_a_hint_and_makes_nothing(
    run: Run, bundle: Bundle, tmp_path: Path
) -> None:
    source = tmp_path / "grants"
    write_designs(source, 4)
    done = run("index", source, "-o", "r", "--bundle", bundle.folder, "--dim", "20")
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert "16, 32, 64" in done.err
    assert not Path("r").exists()
    run("index", source, "-o", "r", "--bundle", bundle.folder, "--dim", "16")
    for extra in (["--dim", "32"], ["--bundle", bundle.folder, "--dim", "64"]):
        done = run("index", source, "-o", "r", *extra)
        assert done.code == 1
        assert is_one_line_and_a_hint(done.err)
        assert "16 numbers a figure" in done.err
    other = fakes.tiny_bundle(tmp_path / "other", golden=3)
    done = run("index", source, "-o", "r", "--bundle", other.folder)
    assert is_one_line_and_a_hint(done.err)
    assert "made by the bundle" in done.err


def test_a_run_is_scored_whole(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("", "utf-8")
    done = run("eval", tmp_path / "run", "--data", tmp_path, "--dim", "16")
    assert done.code == 2


def test_save_bundle_keeps_no_prefixes_of_an_encoder_that_was_trained_whole(
    tmp_path: Path,
) -> None:
    made = fakes.tiny_bundle(tmp_path / "b")
    assert "prefixes" not in json.loads((made.folder / "bundle.json").read_text("utf-8"))
    with pytest.raises(BundleError, match="prefixes"):
        fakes.tiny_bundle(tmp_path / "c", prefixes=(65,))
    assert not (tmp_path / "c").exists()
