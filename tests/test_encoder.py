"""An encoder gives the bundle's vectors, a row at a time or many, or says why it cannot."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_retrieval.arrays import Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import (
    BACKENDS,
    BackendChoice,
    OnnxEncoder,
    choose_backend,
    choosing,
    embed_figures,
    golden_check,
    load_encoder,
    signal_stack_kept,
)
from edge_retrieval.errors import BundleError, ConfigError, MissingExtraError
from tests import fakes

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "tests" / "pinned" / "bundle-1"
IR = ROOT / "tests" / "pinned" / "bundle-2-openvino"


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "openvino":
        pytest.importorskip("openvino")
    return name


@pytest.fixture
def bundle() -> Bundle:
    return Bundle.open(PINNED)


def images(count: int) -> Images:
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, (count, 1, 32, 32)).astype(np.float32)


def test_an_encoder_tells_what_the_bundle_tells(bundle: Bundle, backend: str) -> None:
    encoder = load_encoder(bundle, backend=backend)
    assert encoder.dim == bundle.dim == 8
    assert encoder.preprocessing == bundle.preprocessing
    assert encoder.fingerprint == bundle.fingerprint
    assert encoder.backend == backend


def test_a_bundle_runs_on_what_it_is_made_for_unless_another_is_named(bundle: Bundle) -> None:
    assert load_encoder(bundle).backend == "onnx"
    pytest.importorskip("openvino")
    assert load_encoder(Bundle.open(IR)).backend == "openvino"
    assert load_encoder(bundle, backend="openvino").backend == "openvino"


def test_openvinos_own_format_is_refused_by_onnxruntime_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="onnxruntime cannot run") as caught:
        load_encoder(Bundle.open(IR), backend="onnx")
    assert "--backend" in caught.value.hint


def test_both_formats_of_one_network_give_the_same_rows(bundle: Bundle) -> None:
    pytest.importorskip("openvino")
    assert np.allclose(
        load_encoder(bundle).embed(images(5)),
        load_encoder(Bundle.open(IR)).embed(images(5)),
        atol=1e-4,
    )


def test_computing_in_float_changes_nothing_of_a_network_in_float(
    bundle: Bundle, backend: str
) -> None:
    plain = BACKENDS[backend](bundle, threads=1).embed(images(3))
    assert np.allclose(BACKENDS[backend](bundle, integers=False).embed(images(3)), plain, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_rows_have_length_one_whatever_the_batch(bundle: Bundle, backend: str, count: int) -> None:
    rows = load_encoder(bundle, backend=backend, threads=1).embed(images(count))
    assert rows.shape == (count, 8)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_a_row_of_a_batch_equals_a_batch_of_one(bundle: Bundle, backend: str) -> None:
    encoder = load_encoder(bundle, backend=backend, threads=2)
    batch = images(9)
    alone = np.concatenate([encoder.embed(batch[i : i + 1]) for i in range(9)])
    assert np.allclose(encoder.embed(batch), alone, atol=1e-5)


def test_a_later_call_leaves_earlier_rows_alone(bundle: Bundle, backend: str) -> None:
    encoder = load_encoder(bundle, backend=backend)
    first = encoder.embed(images(2))
    kept = first.copy()
    encoder.embed(-images(2))
    assert np.array_equal(first, kept)


def test_images_that_are_a_view_are_read_in_their_own_order(bundle: Bundle, backend: str) -> None:
    encoder = load_encoder(bundle, backend=backend)
    turned = images(4)[::-1].transpose(0, 1, 3, 2)
    expected = encoder.embed(np.ascontiguousarray(turned))
    assert np.array_equal(encoder.embed(turned), expected)


def test_the_backends_agree(bundle: Bundle) -> None:
    pytest.importorskip("openvino")
    first, second = (load_encoder(bundle, backend=name).embed(images(5)) for name in BACKENDS)
    assert np.allclose(first, second, atol=1e-4)


def test_the_golden_drawings_come_out_as_recorded(bundle: Bundle, backend: str) -> None:
    assert golden_check(bundle, load_encoder(bundle, backend=backend)) >= bundle.golden_tolerance


def test_another_network_fails_the_golden_check(bundle: Bundle) -> None:
    class Upside(OnnxEncoder):
        def embed(self, images: Images) -> Images:
            return super().embed(np.ascontiguousarray(images[:, :, ::-1]))

    assert golden_check(bundle, Upside(bundle)) < bundle.golden_tolerance


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_the_batch_does_not_change_what_figures_become(bundle: Bundle, batch: int) -> None:
    encoder = load_encoder(bundle, threads=1)
    figures = list(bundle.golden().images)
    rows = embed_figures(encoder, figures, batch=batch)
    assert np.allclose(rows, bundle.golden().embeddings, atol=1e-5)
    assert embed_figures(encoder, [], batch=batch).shape == (0, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        images(1)[0],
        images(1)[:, :, :16],
        np.repeat(images(1), 3, axis=1),
        images(1).astype(np.float64),
        (images(1) * 100).astype(np.uint8),
    ],
)
def test_images_of_another_kind_are_refused(bundle: Bundle, backend: str, wrong: Images) -> None:
    with pytest.raises(ConfigError, match=r"takes \(N, 1, 32, 32\) float32"):
        load_encoder(bundle, backend=backend).embed(wrong)


def test_wrong_settings_are_refused(bundle: Bundle, backend: str) -> None:
    with pytest.raises(ConfigError, match="0 threads"):
        load_encoder(bundle, backend=backend, threads=0)
    with pytest.raises(ConfigError, match="no backend 'cuda'") as caught:
        load_encoder(bundle, backend="cuda")
    assert "onnx, openvino, auto" in caught.value.hint
    with pytest.raises(ConfigError, match="0 figures"):
        embed_figures(load_encoder(bundle), [], batch=0)


def test_a_file_that_is_no_network_is_one_clear_error(tmp_path: Path, backend: str) -> None:
    bundle = fakes.tiny_bundle(tmp_path / "b")
    bundle.model.write_bytes(b"no network at all")
    with pytest.raises(BundleError, match=r"model\.onnx: \w+ cannot run it") as caught:
        load_encoder(bundle, backend=backend)
    assert "\n" not in str(caught.value)


def test_a_network_that_is_not_what_the_bundle_says_is_refused(
    tmp_path: Path, backend: str
) -> None:
    bundle = fakes.tiny_bundle(tmp_path / "b")
    with pytest.raises(BundleError, match="its bundle says"):
        load_encoder(replace(bundle, dim=63), backend=backend)
    grown = replace(bundle.preprocessing, size=64)
    with pytest.raises(BundleError, match="its bundle says"):
        load_encoder(replace(bundle, preprocessing=grown), backend=backend)


def test_numbers_that_are_not_finite_are_not_handed_on(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="not finite"):
        load_encoder(bundle).embed(images(1) * np.float32(np.nan))


# ------------------------------------------------------------------ the fastest here


class Clock:
    """A clock that only encoders move."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """Seconds a call of each backend, to be set: two fakes that only a fake clock times.

    A time of 0 stands for a runtime that computes something else, below 0 for one that fails.
    """
    seconds = {"onnx": 2.0, "openvino": 1.0}
    clock = Clock()

    class Timed(OnnxEncoder):
        name = ""

        def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
            if seconds[self.name] < 0:
                raise BundleError(f"{self.name} cannot run it", hint="")
            super().__init__(bundle, threads=threads)

        def embed(self, images: Images) -> Images:
            clock.now += seconds[self.name]
            rows = super().embed(images)
            return rows if seconds[self.name] else np.ascontiguousarray(rows[:, ::-1])

    for name in seconds:
        fake = type(name, (Timed,), {"name": name, "backend": name})
        monkeypatch.setitem(BACKENDS, name, fake)
    monkeypatch.setattr("time.perf_counter", clock.perf_counter)
    monkeypatch.setattr(choosing, "find_spec", lambda name: name)
    monkeypatch.setattr(choosing, "machine_is_busy", lambda: False)
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path / "cache"))
    return seconds


def test_auto_is_the_fastest_runtime_here(bundle: Bundle, made: dict[str, float]) -> None:
    choice = choose_backend(bundle)
    assert choice.backend == "openvino"
    assert choice.seconds == pytest.approx({"onnx": 2.0, "openvino": 1.0})
    assert min(choice.cosine.values()) >= bundle.golden_tolerance
    assert "2.00x" in choice.why
    assert load_encoder(bundle, backend="auto").backend == "openvino"


def test_auto_stays_with_the_own_runtime_where_the_gain_is_noise(
    bundle: Bundle, made: dict[str, float]
) -> None:
    made.update(onnx=1.03, openvino=1.0)
    assert choose_backend(bundle).backend == "onnx"


@pytest.mark.parametrize("seconds", [0.0, -1.0], ids=["computes otherwise", "cannot run it"])
def test_auto_never_takes_a_runtime_that_computes_something_else(
    seconds: float, bundle: Bundle, made: dict[str, float]
) -> None:
    made["openvino"] = seconds
    choice = choose_backend(bundle, threads=1)
    assert choice.backend == "onnx"
    assert choice.seconds == {}
    assert re.search("(?i)openvino (computes something else|cannot run it)", choice.why)
    made["onnx"] = seconds
    with pytest.raises(BundleError, match="no runtime here") as caught:
        choose_backend(bundle, threads=2)
    assert "edge-ret doctor" in caught.value.hint


def test_a_choice_is_remembered_for_this_bundle_threads_and_versions(
    bundle: Bundle, made: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = choose_backend(bundle, threads=1)
    made.update(onnx=1.0, openvino=2.0)
    assert choose_backend(bundle, threads=1) == first
    assert choose_backend(bundle, threads=2).backend == "onnx"
    assert choose_backend(replace(bundle, fingerprint="0"), threads=1).backend == "onnx"
    monkeypatch.setattr(choosing, "versions", lambda: {"openvino": "1999.1"})
    assert choose_backend(bundle, threads=1).backend == "onnx"


def test_a_choice_made_on_a_busy_machine_is_not_kept(
    bundle: Bundle, made: dict[str, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(choosing, "machine_is_busy", lambda: True)
    assert "busy machine" in choose_backend(bundle).why
    assert not (tmp_path / "cache").exists()


def test_a_remembered_runtime_that_is_gone_is_not_chosen(
    bundle: Bundle, made: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_backend(bundle).backend == "openvino"
    monkeypatch.setattr(choosing, "find_spec", lambda name: name if name != "openvino" else None)
    choice = choose_backend(bundle)
    assert choice.backend == "onnx"
    assert "no other runtime" in choice.why
    with pytest.raises(MissingExtraError):
        choose_backend(Bundle.open(IR))


@pytest.mark.parametrize("text", ["", "[]", "null", '{"backend": "abacus"}', '{"colour": 1}'])
def test_a_memory_that_makes_no_sense_is_made_anew(
    text: str, bundle: Bundle, made: dict[str, float], tmp_path: Path
) -> None:
    first = choose_backend(bundle)
    [memory] = (tmp_path / "cache" / "backends").iterdir()
    memory.write_text(text, "utf-8")
    again: BackendChoice = choose_backend(bundle)
    assert again.backend == first.backend
    assert memory.read_text("utf-8") != text


def test_a_cache_that_cannot_be_written_only_costs_time(
    bundle: Bundle, made: dict[str, float], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("no folder", "utf-8")
    assert choose_backend(bundle).backend == "openvino"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_no_runtime_is_imported_before_it_is_needed() -> None:
    code = "import sys, edge_retrieval.encoder; print({'onnxruntime', 'openvino'} & {*sys.modules})"
    assert run(code) == "set()"


def test_openvino_without_the_extra_names_the_extra(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError) as caught:
        load_encoder(bundle, backend="openvino")
    assert caught.value.hint == "pip install 'edge-retrieval[openvino]'"


def test_openvino_runs_without_its_telemetry() -> None:
    pytest.importorskip("openvino")
    code = (
        "import sys; from pathlib import Path\n"
        "from edge_retrieval.bundle import Bundle\n"
        "from edge_retrieval.encoder import load_encoder\n"
        f"load_encoder(Bundle.open(Path({str(PINNED)!r})), backend='openvino')\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    assert run(code) == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="there it is part of the system")
def test_onnxruntime_runs_without_its_telemetry(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from edge_retrieval.bundle import Bundle\n"
        "from edge_retrieval.encoder import load_encoder\n"
        f"load_encoder(Bundle.open(Path({str(PINNED)!r})))\n"
    )
    # Not the variables of a test machine: onnxruntime keeps quiet where it sees one.
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def signal_stack() -> tuple[int, ...]:
    """Where this thread's stack for signals starts, its flags and its size."""
    stack = (ctypes.c_size_t * 3)()
    ctypes.CDLL(None).sigaltstack(None, stack)
    return tuple(stack)


def test_openvino_leaves_no_signal_stack_on_memory_that_is_gone(bundle: Bundle) -> None:
    """A signal that arrived then killed the process, or was written over someone's numbers."""
    openvino = pytest.importorskip("openvino")
    if not sys.platform.startswith("linux"):
        pytest.skip("OpenVINO sets such a stack on Linux only")
    encoders = [load_encoder(bundle, backend="openvino") for _ in range(2)]
    stack = signal_stack()
    with signal_stack_kept():  # NNCF makes Cores of its own; these do not go in reverse order
        first, second = openvino.Core(), openvino.Core()
        names = [core.get_property("CPU", "FULL_DEVICE_NAME") for core in (first, second)]
        assert names[0] == names[1]
        assert signal_stack() != stack
        del first
        del second
    del encoders[0]
    del encoders
    assert signal_stack() == stack


def test_a_network_kept_in_the_cache_gives_the_same_bits(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path))
    plain = load_encoder(bundle, threads=1).embed(images(3))
    made = load_encoder(bundle, threads=1, keep=True).embed(images(3))
    [kept] = tmp_path.rglob("*.onnx")
    monkeypatch.setattr(Path, "touch", refused)  # so that it cannot be made again
    found = load_encoder(bundle, threads=1, keep=True).embed(images(3))
    assert np.array_equal(made, plain)
    assert np.array_equal(found, plain)
    assert kept.exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_network_in_the_cache_is_made_again(
    damage: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path))
    plain = load_encoder(bundle, threads=1, keep=True).embed(images(3))
    [kept] = tmp_path.rglob("*.onnx")
    good = kept.read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    kept.write_bytes({"flipped": bytes(changed), "cut": good[:1000], "empty": b""}[damage])
    again = load_encoder(bundle, threads=1, keep=True).embed(images(3))
    assert np.array_equal(again, plain)
    assert kept.stat().st_size == len(good)


def test_without_a_cache_a_network_is_optimised_each_time(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path / "file"))
    rows = load_encoder(bundle, threads=1, keep=True).embed(images(3))
    assert np.array_equal(rows, load_encoder(bundle, threads=1).embed(images(3)))


def refused(*_: object, **__: object) -> None:
    raise OSError("read-only")
