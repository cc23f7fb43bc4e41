"""The doctor finds a machine good, or names what is off: file, setting, resize, runtime, model."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_retrieval import causes
from edge_retrieval.arrays import Embeddings, Images, Pixels
from edge_retrieval.bundle import Bundle, FileRecord, save_bundle
from edge_retrieval.bundle_files import fingerprint_of
from edge_retrieval.doctor import Diagnosis, examine
from edge_retrieval.drawing import fit, fit_batch
from edge_retrieval.encoder import BACKENDS, OnnxEncoder
from edge_retrieval.errors import ConfigError
from edge_retrieval.provenance import sha256_of
from tests import fakes

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "tests" / "pinned"
IR = PINNED / "bundle-2-openvino"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A network of signed 8-bit activations and weights that is right on every machine."""
    return fakes.int8_bundle(tmp_path / "b")


def fault_of(found: Diagnosis) -> str:
    assert found.fault is not None
    what, hint = found.fault
    assert hint
    assert "\n" not in what + hint
    return what


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change bundle.json by hand."""
    manifest = manifest_of(folder)
    change(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest), "utf-8")


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "bundle.json").read_text("utf-8"))
    return found


def test_a_good_bundle_is_good_on_every_runtime_that_is_installed(bundle: Bundle) -> None:
    found = examine(bundle.folder)
    assert found.fault is None
    assert [check.name for check in found.checks] == ["manifest", "files", "scaling"]
    assert all(check.good for check in found.checks)
    assert found.trials[0].backend == "onnx"
    for trial in found.trials:
        assert trial.good
        assert bundle.golden_tolerance <= trial.least <= trial.mean <= 1.0 + 1e-6
        assert len(trial.seconds) >= 5


def test_it_says_which_runtime_is_faster_here(bundle: Bundle) -> None:
    pytest.importorskip("openvino")
    found = examine(bundle.folder)
    assert {trial.backend for trial in found.trials} == {"onnx", "openvino"}
    assert "as fast" in found.faster or "equally fast" in found.faster
    assert examine(bundle.folder, backends=["onnx"]).faster == ""


def test_a_diagnosis_is_plain_json_whatever_it_says(bundle: Bundle, tmp_path: Path) -> None:
    good = examine(bundle.folder).to_json()
    assert json.loads(json.dumps(good, allow_nan=False)) == good
    assert (good["good"], good["fault"], good["fingerprint"]) == (True, None, bundle.fingerprint)
    bad = examine(tmp_path / "nowhere").to_json()
    assert (bad["good"], bad["runtimes"], bad["name"]) == (False, [], None)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_byte_names_its_file(name: str, place: float, bundle: Bundle) -> None:
    data = bytearray((bundle.folder / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (bundle.folder / name).write_bytes(data)
    found = examine(bundle.folder)
    assert f"{name}: damaged" in fault_of(found)
    assert found.trials == ()


def test_one_flipped_byte_of_openvinos_weights_names_their_file(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(IR, folder)
    data = bytearray((folder / "model.bin").read_bytes())
    data[100] ^= 128
    (folder / "model.bin").write_bytes(data)
    assert "model.bin: damaged" in fault_of(examine(folder))


def test_a_changed_constant_of_the_preprocessing_is_named(bundle: Bundle) -> None:
    edit(bundle.folder, lambda manifest: manifest["preprocessing"].update(mean=0.4))
    found = examine(bundle.folder)
    assert "preprocessing mean is 0.4, and was 0.5" in fault_of(found)
    assert found.bundle is None


@pytest.mark.parametrize("changes", [{"size": 40}, {"mean": 0.4, "std": 0.2}])
def test_any_changed_preprocessing_is_found(changes: dict[str, float], bundle: Bundle) -> None:
    edit(bundle.folder, lambda manifest: manifest["preprocessing"].update(changes))
    assert "fits neither preprocessing" in fault_of(examine(bundle.folder))


def crude(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Reduce an image as a careless program does."""
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


def plain_mean(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Reduce an image as most programs do: thin strokes fade."""
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0))


@pytest.mark.parametrize("resize", [crude, plain_mean])
def test_another_resize_is_called_that(
    resize: Callable[..., Pixels], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[fit.__module__], "shrink", resize)
    found = examine(bundle.folder)
    assert "drawings are scaled otherwise" in fault_of(found)
    assert [check.good for check in found.checks] == [True, True, False]


def other_network(folder: Path, *, precision: str = "fp32") -> Bundle:
    """A bundle whose golden vectors are of another network than the one it holds."""
    golden = np.stack([fakes.pixels_of(fakes.drawing(i)) for i in range(3)])
    vectors = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    return save_bundle(
        folder,
        name="other",
        precision=precision,
        model=fakes.MODEL,
        preprocessing=fakes.PREPROCESSING,
        levels=("design",),
        golden_images=golden,
        golden_embeddings=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        golden_tolerance=0.9,
        provenance={"export": {"versions": {"onnxruntime": "1.0.0"}}},
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_another_network_is_called_that(precision: str, tmp_path: Path) -> None:
    found = examine(other_network(tmp_path / "b", precision=precision).folder)
    assert "not the network that the golden vectors are of" in fault_of(found)
    assert not any(trial.good for trial in found.trials)
    assert found.faster == ""


def test_it_tells_of_another_version_of_the_runtime_only_where_something_is_off(
    bundle: Bundle, tmp_path: Path
) -> None:
    what = fault_of(examine(other_network(tmp_path / "o").folder))
    assert "made with onnxruntime 1.0.0, here 1." in what
    assert "made with" not in examine(bundle.folder).trials[0].told


def test_ranges_that_are_too_narrow_are_found_in_the_model_itself(tmp_path: Path) -> None:
    clipped = fakes.int8_bundle(tmp_path / "c", model=fakes.CLIPPED)
    found = examine(clipped.folder)
    what = fault_of(found)
    assert "the model itself saturates" in what
    assert "first at hidden, where 100% of the values are lost" in what
    assert not any(trial.good for trial in found.trials)


def sixteen_bits(*, mended_by_wide_sums: bool) -> type[OnnxEncoder]:
    """Make onnxruntime on a processor that adds products of bytes in 16 bits."""

    class Saturating(OnnxEncoder):
        def __init__(
            self,
            bundle: Bundle,
            *,
            threads: int | None = None,
            integers: bool = True,
            wide_sums: bool = False,
        ) -> None:
            super().__init__(bundle, threads=threads, integers=integers)
            self.off = integers and not (wide_sums and mended_by_wide_sums)

        def embed(self, images: Images) -> Embeddings:
            if not self.off:
                return super().embed(images)
            return fakes.Int8Encoder(saturates=True).embed(images)

    return Saturating


@pytest.mark.parametrize(
    ("mended", "words"),
    [
        (True, "INT8 saturates on this processor: its 16-bit sums overflow"),
        (False, "the file is right in float: INT8 saturates on this processor, or is rounded"),
    ],
)
def test_a_signed_8_bit_model_that_saturates_here_is_called_that(
    mended: bool, words: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = sixteen_bits(mended_by_wide_sums=mended)
    monkeypatch.setitem(BACKENDS, "onnx", kind)
    monkeypatch.setattr(causes, "OnnxEncoder", kind)
    found = examine(bundle.folder)
    assert words in fault_of(found)
    assert found.trials[0].least < 0.5
    assert found.fault is not None
    assert "reduced range" in found.fault[1]
    if len(found.trials) == 2:
        assert found.trials[1].good
        assert "--backend openvino" in found.fault[1]
        assert found.faster == "OpenVINO is the only one here that computes right"


def test_only_the_runtime_that_is_asked_for_decides(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")

    class Off(BACKENDS["openvino"]):  # type: ignore[misc]
        def embed(self, images: Images) -> Embeddings:
            return np.ascontiguousarray(super().embed(images)[:, ::-1])

    monkeypatch.setitem(BACKENDS, "openvino", Off)
    found = examine(bundle.folder)
    assert found.fault is None
    assert [trial.good for trial in found.trials] == [True, False]
    assert "OpenVINO" in fault_of(examine(bundle.folder, backends=["openvino"]))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86 processors")
def test_real_16_bit_sums_saturate_and_are_found(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bundle = fakes.int8_bundle(tmp_path / "b", model=fakes.INT8)
    code = (
        "import sys, json; from pathlib import Path; from edge_retrieval.doctor import examine\n"
        "found = examine(Path(sys.argv[1])).to_json()\n"
        "print(json.dumps([[t['good'], t['least'], t['told']] for t in found['runtimes']]))"
    )
    # OpenVINO then computes as on a processor of 2013 to 2018, without VNNI.
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.folder)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    [onnx, openvino] = json.loads(done.stdout)
    assert not openvino[0]
    for good, least, words in (onnx, openvino):  # the first one asks the processor alone
        assert good or (least < 0.5 and "INT8 saturates on this processor" in words)
    golden = bundle.golden()
    images = fit_batch(list(golden.images), bundle.preprocessing)
    emulated = (fakes.Int8Encoder(saturates=True).embed(images) * golden.embeddings).sum(axis=1)
    assert openvino[1] == pytest.approx(float(emulated.min()), abs=0.01)


def test_a_bundle_of_schema_1_is_examined_as_far_as_it_tells() -> None:
    found = examine(PINNED / "bundle-1")
    assert found.fault is None
    assert [check.good for check in found.checks] == [True, True, None]


def test_a_runtime_that_is_not_installed_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = examine(IR)
    assert "OpenVINO" in fault_of(found)
    assert found.fault is not None
    assert found.fault[1] == "pip install 'edge-retrieval[openvino]'"


@pytest.mark.parametrize("backend", ["abacus", "onnx"])
def test_a_backend_that_cannot_run_the_format_is_a_users_mistake(backend: str) -> None:
    with pytest.raises(ConfigError, match="no backend") as caught:
        examine(IR, backends=[backend])
    assert "openvino" in caught.value.hint


def test_golden_drawings_that_make_no_sense_are_a_fault_of_the_files(bundle: Bundle) -> None:
    path = bundle.folder / "golden.npz"
    np.savez(path, images=np.zeros(3), embeddings=np.zeros((3, 8)))
    record = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    edit(bundle.folder, lambda manifest: manifest["files"].update({"golden.npz": record}))
    files = {name: FileRecord(**one) for name, one in manifest_of(bundle.folder)["files"].items()}
    mended = fingerprint_of("onnx", files, bundle.dim, bundle.preprocessing)
    edit(bundle.folder, lambda manifest: manifest.update(fingerprint=mended))
    assert "golden drawings must be" in fault_of(examine(bundle.folder))
    path.unlink()
    assert "golden.npz: missing" in fault_of(examine(bundle.folder))
