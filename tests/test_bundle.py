"""A bundle is whole or refused; what it pins is what decides the vectors."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval import bundle as bundle_module
from edge_retrieval.bundle import (
    BUNDLE_SCHEMA,
    Bundle,
    default_bundle_path,
    save_bundle,
)
from edge_retrieval.bundle_files import CARD, FORMATS, GOLDEN, MANIFEST
from edge_retrieval.drawing import Preprocessing, fit
from edge_retrieval.encoder import golden_check, load_encoder
from edge_retrieval.errors import BundleError
from tests import fakes

ALL_PINNED = Path(__file__).parent / "pinned"
PINNED = ALL_PINNED / "bundle-1"
FINGERPRINTS = {
    "bundle-1": "6e3a95bc9b06a21379f9548546879cbd3635aad4b6dc697e6873844d8f83066a",
    "bundle-2": "a67c82371be6908dbe9ffc87c883d0148de16c300b99b0d00e1b63c4fe76c2f1",
    "bundle-2-told": "76a0ef0b9e8b1227c4643a4af1422a6a1af8130e724e6c6c73266ed7407816d9",
    "bundle-2-openvino": "0ae72e992f7ae31585d88efe4583ffcce37d28572237f0a7686a90d0d8279f07",
}


def parts(**changes: Any) -> dict[str, Any]:
    """What `save_bundle` needs, apart from the folder."""
    unit = np.eye(8, dtype=np.float32)[:3]
    return {
        "name": "made",
        "precision": "fp32",
        "model": fakes.MODEL,
        "preprocessing": Preprocessing(size=32),
        "levels": ("class", "design"),
        "golden_images": np.full((3, 20, 24), 255, np.uint8),
        "golden_embeddings": unit,
        "golden_tolerance": 0.99,
        "provenance": {"seed": 7},
        **changes,
    }


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change bundle.json by hand."""
    manifest = json.loads((folder / "bundle.json").read_text("utf-8"))
    change(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest), "utf-8")


def inside(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = save_bundle(tmp_path / "b", **parts(card="# Made\n"))
    opened = Bundle.open(tmp_path / "b")
    assert opened == saved
    assert (opened.name, opened.precision, opened.dim) == ("made", "fp32", 8)
    assert opened.preprocessing == Preprocessing(size=32)
    assert opened.levels == ("class", "design")
    assert opened.provenance == {"seed": 7}
    assert opened.golden_tolerance == 0.99
    assert set(opened.files) == {"model.onnx", "golden.npz", "CARD.md"}
    assert opened.model.read_bytes() == fakes.MODEL.read_bytes()
    images, embeddings = opened.golden()
    assert images.shape == (3, 20, 24)
    assert np.array_equal(embeddings, parts()["golden_embeddings"])


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_the_pinned_bundles_open_and_run_for_ever(name: str) -> None:
    bundle = Bundle.open(ALL_PINNED / name)
    assert bundle.fingerprint == FINGERPRINTS[name]
    assert bundle.format == ("openvino" if name.endswith("openvino") else "onnx")
    if bundle.format == "openvino":
        pytest.importorskip("openvino")
    encoder = load_encoder(bundle, backend=bundle.format, threads=1)
    assert golden_check(bundle, encoder) >= bundle.golden_tolerance


def test_a_pinned_bundle_tells_its_prefixes_and_what_its_scores_mean_for_ever() -> None:
    bundle = Bundle.open(ALL_PINNED / "bundle-2-told")
    assert bundle.prefixes == (16, 32)
    assert bundle.calibration is not None
    assert [(t.dim, t.figures, t.pairs) for t in bundle.calibration.tables] == [
        (dim, (few, many), 48 * 36 // few // many)
        for dim in (16, 32, 64)
        for few, many in ((1, 1), (1, 2), (2, 2))
    ]
    told = [bundle.calibration.strength(score, dim=64) for score in (0.2, 0.6, 0.99)]
    said = [strength.text for strength in told if strength is not None]
    assert said == ["most", "1 in 6", "fewer than 1 in 100"]


def test_a_bundle_of_schema_1_is_onnx_and_knows_no_scaling() -> None:
    bundle = Bundle.open(PINNED)
    assert (bundle.format, bundle.model.name) == ("onnx", "model.onnx")
    assert bundle.model_bytes == bundle.model.stat().st_size
    assert bundle.fitted() is None


def test_a_bundle_keeps_drawings_that_have_to_be_scaled_down_and_what_became_of_them(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(5)
    golden = rng.integers(0, 256, (6, 40, 50), dtype=np.uint8)
    bundle = save_bundle(
        tmp_path / "b",
        **parts(golden_images=golden, golden_embeddings=np.eye(6, dtype=np.float32)),
    )
    fitted = Bundle.open(tmp_path / "b").fitted()
    assert fitted is not None
    size = bundle.preprocessing.size
    assert len(fitted.images) == len(fitted.squares) == 4
    assert max(fitted.images.shape[1:]) >= 2 * size
    assert np.array_equal(fitted.images[:, ::2, ::2], golden[:4])
    for image, square in zip(fitted.images, fitted.squares, strict=True):
        expected = np.round((fit(image, bundle.preprocessing)[0] * 0.5 + 0.5) * 255)
        assert np.array_equal(square, expected)


def ir(folder: Path) -> Path:
    """Two files that stand for a network in OpenVINO's own format."""
    (folder / "net.xml").write_bytes(b"<net/>")
    (folder / "net.bin").write_bytes(b"weights")
    return folder / "net.xml"


def test_a_network_of_openvino_is_two_files_that_travel_together(tmp_path: Path) -> None:
    bundle = save_bundle(tmp_path / "b", **parts(model=ir(tmp_path)))
    assert bundle.format == "openvino"
    assert bundle.model == tmp_path / "b" / "model.xml"
    assert bundle.model_bytes == len(b"<net/>weights")
    copied = bundle.copy_to(tmp_path / "copy")
    assert set(inside(copied.folder)) == {"bundle.json", "model.xml", "model.bin", "golden.npz"}
    assert copied.fingerprint == bundle.fingerprint
    replaced = save_bundle(tmp_path / "b", **parts(), overwrite=True)
    assert set(inside(replaced.folder)) == {"bundle.json", "model.onnx", "golden.npz"}


def test_the_weights_of_a_network_of_openvino_decide_the_fingerprint_too(tmp_path: Path) -> None:
    first = save_bundle(tmp_path / "a", **parts(model=ir(tmp_path)))
    (tmp_path / "net.bin").write_bytes(b"others.")
    other = save_bundle(tmp_path / "b", **parts(model=tmp_path / "net.xml"))
    assert first.fingerprint != other.fingerprint


def test_a_network_without_its_weights_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"")
    with pytest.raises(BundleError, match=r"neither an \.onnx nor an \.xml"):
        save_bundle(tmp_path / "b", **parts(model=tmp_path / "net.pt"))
    ir(tmp_path)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(BundleError, match="cannot be written"):
        save_bundle(tmp_path / "b", **parts(model=tmp_path / "net.xml"))
    assert not (tmp_path / "b").exists()


def test_the_same_parts_give_the_same_fingerprint(tmp_path: Path) -> None:
    first = save_bundle(tmp_path / "a", **parts())
    assert save_bundle(tmp_path / "b", **parts()).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"provenance": {"seed": 8}},
        {"card": "# Card\n"},
        {"levels": ("design",)},
        {"golden_tolerance": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_decide_the_vectors_leaves_the_fingerprint(
    change: dict[str, Any], tmp_path: Path
) -> None:
    first = save_bundle(tmp_path / "a", **parts())
    assert save_bundle(tmp_path / "b", **parts(**change)).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"model": PINNED / "model.onnx"},
        {"golden_images": np.zeros((3, 20, 24), np.uint8)},
        {"golden_embeddings": np.eye(9, dtype=np.float32)[:3]},
        {"preprocessing": Preprocessing(size=40)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_the_vectors_changes_the_fingerprint(
    change: dict[str, Any], tmp_path: Path
) -> None:
    first = save_bundle(tmp_path / "a", **parts())
    assert save_bundle(tmp_path / "b", **parts(**change)).fingerprint != first.fingerprint


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "CARD.md"])
def test_a_flipped_bit_in_any_file_is_found(name: str, tmp_path: Path) -> None:
    folder = save_bundle(tmp_path / "b", **parts(card="# Made\n")).folder
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name}: damaged"):
        Bundle.open(folder)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_file_that_is_cut_short_or_gone_is_found(name: str, tmp_path: Path) -> None:
    folder = save_bundle(tmp_path / "b", **parts()).folder
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1])
    with pytest.raises(BundleError, match=f"{name}: {len(data) - 1} bytes where"):
        Bundle.open(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        Bundle.open(folder)


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = save_bundle(tmp_path / "b", **parts()).folder
    edit(folder, lambda m: m.update(schema=BUNDLE_SCHEMA + 1))
    with pytest.raises(BundleError, match="newer than this version") as caught:
        Bundle.open(folder)
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("name", ["../model.onnx", "a/b", "..", "/etc/hosts", "c:x", "bundle.json"])
def test_a_file_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder = save_bundle(tmp_path / "b", **parts()).folder
    edit(folder, lambda m: m["files"].update({name: m["files"]["model.onnx"]}))
    with pytest.raises(BundleError, match="no plain file name"):
        Bundle.open(folder)


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = save_bundle(tmp_path / "b", **parts()).folder
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="no plain file"):
        Bundle.open(folder)


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    **{f"no {key}": lambda m, key=key: m.pop(key) for key in bundle_module._KEYS},  # type: ignore[misc]
    "no schema": lambda m: m.pop("schema"),
    "schema of text": lambda m: m.update(schema="1"),
    "dim of truth": lambda m: m.update(dim=True),
    "dim of 0": lambda m: m.update(dim=0),
    "dim changed": lambda m: m.update(dim=9),
    "format unknown": lambda m: m.update(format="tflite"),
    "format changed": lambda m: m.update(format="openvino"),
    "precision unknown": lambda m: m.update(precision="fp13"),
    "tolerance no number": lambda m: m.update(golden_tolerance=float("nan")),
    "tolerance huge": lambda m: m.update(golden_tolerance=10**400),
    "preprocessing unknown": lambda m: m["preprocessing"].update(blur=1),
    "preprocessing newer": lambda m: m["preprocessing"].update(version=99),
    "preprocessing changed": lambda m: m["preprocessing"].update(mean=0.4),
    "no model": lambda m: m["files"].pop("model.onnx"),
    "record of text": lambda m: m["files"].update({"model.onnx": "x"}),
    "record without size": lambda m: m["files"]["model.onnx"].pop("bytes"),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_manifest_that_makes_no_sense_is_one_clear_error(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    folder = save_bundle(tmp_path / "b", **parts()).folder
    edit(folder, change)
    with pytest.raises(BundleError, match=r"bundle\.json") as caught:
        Bundle.open(folder)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_one_changed_setting_of_the_preprocessing_is_named_if_it_was_the_usual_one(
    tmp_path: Path,
) -> None:
    folder = save_bundle(tmp_path / "b", **parts()).folder
    edit(folder, lambda m: m["preprocessing"].update(std=0.25))
    with pytest.raises(BundleError, match=r"preprocessing std is 0\.25, and was 0\.5"):
        Bundle.open(folder)
    edit(folder, lambda m: m["preprocessing"].update(std=0.5, size=33))
    with pytest.raises(BundleError, match="fits neither preprocessing"):
        Bundle.open(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', "[" * 100_000, "\x00"])
def test_a_manifest_that_is_no_manifest_is_one_clear_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(text, "utf-8")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        Bundle.open(tmp_path)


def test_a_folder_that_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle\.json in it"):
        Bundle.open(tmp_path)
    with pytest.raises(BundleError, match="no such folder"):
        Bundle.open(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="no such folder"):
        Bundle.open(fakes.MODEL)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not a zip", None])
def test_golden_drawings_that_cannot_be_read_are_one_clear_error(
    data: bytes | None, tmp_path: Path
) -> None:
    bundle = save_bundle(tmp_path / "b", **parts())
    if data is None:
        np.savez(bundle.folder / "golden.npz", images=np.zeros(3), embeddings=np.zeros((3, 8)))
    else:
        (bundle.folder / "golden.npz").write_bytes(data)
    with pytest.raises(BundleError, match=r"golden\.npz"):
        bundle.golden()


def test_unknown_files_are_neither_read_nor_copied_nor_lost(tmp_path: Path) -> None:
    folder = save_bundle(tmp_path / "b", **parts(card="# Old\n")).folder
    (folder / "recipe.toml").write_text("seed = 7\n", "utf-8")
    (folder / "notes").mkdir()
    copied = Bundle.open(folder).copy_to(tmp_path / "copy")
    assert set(inside(copied.folder)) == {"bundle.json", "model.onnx", "golden.npz", "CARD.md"}
    replaced = save_bundle(folder, **parts(name="new"), overwrite=True)
    assert replaced.name == "new"
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"bundle.json", "model.onnx", "golden.npz", "recipe.toml", "notes"}
    assert {path.name for path in tmp_path.iterdir()} == {"b", "copy"}


def test_a_copy_is_the_same_bundle(tmp_path: Path) -> None:
    bundle = Bundle.open(PINNED)
    copied = bundle.copy_to(tmp_path / "deep" / "copy")
    assert inside(copied.folder) == inside(PINNED)
    assert copied.fingerprint == bundle.fingerprint


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    bundle = save_bundle(tmp_path / "b", **parts())
    before = inside(bundle.folder)
    with pytest.raises(BundleError, match="exists already"):
        save_bundle(tmp_path / "b", **parts(name="other"))
    with pytest.raises(BundleError, match="exists already"):
        bundle.copy_to(tmp_path / "b")
    assert inside(bundle.folder) == before


def test_a_folder_that_is_no_bundle_is_not_overwritten(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(BundleError, match="not an encoder bundle"):
        save_bundle(precious, **parts(), overwrite=True)
    assert inside(precious) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        {"model": Path("nowhere.onnx")},
        {"golden_embeddings": np.ones((3, 8), np.float32)},
        {"golden_embeddings": np.eye(8, dtype=np.float32)[:2]},
        {"golden_images": np.zeros((0, 4, 4), np.uint8)},
        {"precision": "fp13"},
        {"golden_tolerance": 2.0},
    ],
)
def test_a_save_that_fails_leaves_all_as_it_was(
    fault: dict[str, Any], overwrite: bool, tmp_path: Path
) -> None:
    if overwrite:
        save_bundle(tmp_path / "b", **parts())
    before = {path.name: inside(path) for path in tmp_path.iterdir()}
    with pytest.raises(BundleError):
        save_bundle(tmp_path / "b", **parts(**fault), overwrite=overwrite)
    assert {path.name: inside(path) for path in tmp_path.iterdir()} == before


def test_a_rename_that_fails_brings_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = save_bundle(tmp_path / "b", **parts())
    rename = Path.rename

    def no_new(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise PermissionError(13, "Permission denied", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", no_new)
    with pytest.raises(BundleError, match="Permission denied"):
        save_bundle(tmp_path / "b", **parts(name="new"), overwrite=True)
    assert Bundle.open(tmp_path / "b") == old
    assert {path.name for path in tmp_path.iterdir()} == {"b"}


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", "utf-8")
    with pytest.raises(BundleError, match="cannot be written") as caught:
        save_bundle(tmp_path / "file" / "b", **parts())
    assert caught.value.hint


def test_the_default_bundle_is_found_in_the_wheel_then_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "edge_retrieval"
    package.mkdir()
    monkeypatch.setattr(bundle_module, "__file__", str(package / "bundle.py"))
    with pytest.raises(BundleError, match="no encoder bundle"):
        default_bundle_path()
    shutil.copytree(PINNED, tmp_path / "models" / "small")
    assert default_bundle_path() == tmp_path / "models" / "small"
    shutil.copytree(PINNED, package / "models" / "small")
    assert default_bundle_path() == package / "models" / "small"


def test_the_readme_of_bundles_names_every_key_and_every_file() -> None:
    text = (Path(__file__).parents[1] / "models" / "README.md").read_text("utf-8")
    keys = {*bundle_module._KEYS, "schema"}
    files = {MANIFEST, GOLDEN, CARD, *(name for names in FORMATS.values() for name in names)}
    assert not {name for name in keys | files if f"`{name}`" not in text}
    assert set(re.findall(r"`(fit_images|fit_squares|images|embeddings)`", text)) == {
        "fit_images", "fit_squares", "images", "embeddings",
    }  # fmt: skip


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(fakes.MODEL)
    for tensor in model.graph.initializer:  # only what is raw can lie elsewhere
        values = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    path = tmp_path / "model.onnx"
    onnx.save(
        model, path, save_as_external_data=True, location="w.bin", size_threshold=0,
        convert_attribute=True,
    )  # fmt: skip
    assert (tmp_path / "w.bin").is_file()
    with pytest.raises(BundleError, match="takes weights from other files"):
        save_bundle(tmp_path / "b", **parts(model=path))


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["preprocessing"].update(mean=10**400),
        lambda manifest: manifest["files"].update({"x" * 5000: {"sha256": "", "bytes": 1}}),
    ],
)
def test_numbers_and_names_beyond_reason_are_one_clear_error(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    save_bundle(tmp_path / "b", **parts())
    edit(tmp_path / "b", change)
    with pytest.raises(BundleError):
        Bundle.open(tmp_path / "b")


def test_a_golden_file_that_is_no_archive_is_one_clear_error(tmp_path: Path) -> None:
    bundle = save_bundle(tmp_path / "b", **parts())
    np.save(tmp_path / "plain.npy", np.zeros(3))
    (bundle.folder / "golden.npz").write_bytes((tmp_path / "plain.npy").read_bytes())
    with pytest.raises(BundleError, match=r"golden\.npz"):
        bundle.golden()
