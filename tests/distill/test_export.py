"""A run becomes bundles that open."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import nn

from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.drawing_cache import CutDesign, write_cut
from distill.export import ExportResult, export_run
from distill.model import TorchEncoder, load_student, make_student
from distill.quantize import Recipe
from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import Preprocessing, fit, fit_batch
from edge_retrieval.encoder import embed_figures, golden_check, load_encoder
from edge_retrieval.errors import ConfigError

CONFIG = TrainConfig(backbone="test_efficientnet", size=32, dim=8, held_out=0.2)


def write_cache(folder: Path, designs: int, label: str, seed: int) -> None:
    """Write what the trainer keeps of a source: two figures a design, cut and fitted."""
    rng = np.random.default_rng(seed)
    cut = []
    for number in range(designs):
        pairs = []
        for _ in range(2):
            page = Image.new("L", (90, 60), 255)
            points = [(float(x), float(y)) for x, y in rng.integers(0, 60, (6, 2))]
            ImageDraw.Draw(page).line([(0.0, 0.0), *points, (89.0, 59.0)], fill=0, width=4)
            plain = Preprocessing(size=CONFIG.size, mean=0.0, std=1.0)
            square = np.rint(fit(np.asarray(page), plain)[0] * 255).astype(np.uint8)
            pairs.append((square, square))
        labels = (label, f"{label}-0{number % 3 + 1}")
        cut.append((CutDesign(f"{label}{seed}{number:04d}", labels, "here", len(pairs)), pairs))
    write_cut(folder, cut, (CONFIG.size, CONFIG.size))


def make_run(folder: Path, designs: int = 60) -> Path:
    """Write a run folder as the trainer leaves it, with weights that nobody trained."""
    write_cache(folder / "cache" / "a", designs, "06", 1)
    write_cache(folder / "cache" / "b", designs // 3, "07", 2)
    CONFIG.save(folder / "config.toml")
    student = make_student(CONFIG)
    images = CutDrawings.read(folder, CONFIG).images(np.arange(min(64, 2 * designs)))
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = None
    with torch.no_grad():
        student.train()(torch.from_numpy(images))
    save_file(student.state_dict(), folder / "best.safetensors")
    (folder / "provenance.json").write_text('{"sources": ["a", "b"], "versions": {}}', "utf-8")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return export_run(run, tmp_path_factory.mktemp("out"), int8=True, name="made")


def test_a_run_becomes_two_bundles_that_open(exported: ExportResult) -> None:
    fp32, int8 = (Bundle.open(bundle.folder) for bundle in exported.bundles)
    assert [fp32.folder.name, int8.folder.name] == ["made-fp32", "made-int8"]
    assert (fp32.precision, int8.precision) == ("fp32", "int8")
    assert fp32.fingerprint != int8.fingerprint
    assert fp32.levels == ("class", "subclass", "design")
    assert fp32.dim == int8.dim == CONFIG.dim
    assert {path.name for path in fp32.folder.parent.iterdir()} == {"made-fp32", "made-int8"}


def test_golden_drawings_hold_on_the_machine_that_exported(exported: ExportResult) -> None:
    for bundle in exported.bundles:
        found = golden_check(bundle, load_encoder(bundle, threads=1))
        assert bundle.golden_tolerance < found <= 1.0 + 1e-6
    fp32, int8 = exported.bundles
    assert fp32.golden_tolerance > 0.998
    assert np.array_equal(fp32.golden().images, int8.golden().images)


def test_golden_embeddings_are_those_of_torch(exported: ExportResult, run: Path) -> None:
    student, config = load_student(run)
    golden = exported.bundles[0].golden()
    preprocessing = Preprocessing(size=config.size)
    expected = TorchEncoder(student, preprocessing).embed(
        fit_batch(list(golden.images), preprocessing)
    )
    assert np.allclose(golden.embeddings, expected, atol=1e-6)


def test_golden_drawings_were_held_out_and_are_fitted_to_the_same_bits(run: Path) -> None:
    cut = CutDrawings.read(run, CONFIG)
    images = fit_batch(list(cut.golden()), cut.preprocessing)
    held_out = {image.tobytes() for image in cut.images(cut.held_out)}
    assert {image.tobytes() for image in images} <= held_out


def test_no_drawing_is_on_both_sides_and_none_is_lost(run: Path) -> None:
    cut = CutDrawings.read(run, CONFIG)
    both = np.concatenate([cut.training, cut.held_out])
    assert np.array_equal(np.sort(both), np.arange(160))
    assert len(cut.held_out) > 0


def test_classes_of_two_sources_are_kept_apart(run: Path) -> None:
    assert np.array_equal(np.bincount(CutDrawings.read(run, CONFIG).classes), [120, 40])


def test_drawings_that_calibrated_are_not_compared(run: Path) -> None:
    cut = CutDrawings.read(run, CONFIG)
    without = np.arange(20)
    compared = cut.to_compare(without=without)
    assert not set(compared.tolist()) & set(cut.training[without].tolist())
    assert set(cut.held_out.tolist()) <= set(compared.tolist())


def test_a_bundle_tells_how_it_was_made(exported: ExportResult, run: Path) -> None:
    fp32, int8 = exported.bundles
    assert fp32.provenance["config"]["backbone"] == "test_efficientnet"
    assert fp32.provenance["training"]["sources"] == ["a", "b"]
    assert len(fp32.provenance["weights"]) == 64
    assert "torch" in fp32.provenance["export"]["versions"]
    assert fp32.provenance["export"]["parity"] == exported.parity < 1e-5
    told = int8.provenance["export"]
    assert exported.agreement is not None
    assert told["agreement"] == exported.agreement.to_json()
    assert told["calibration_figures"] >= 100
    assert told["recipe"]["calibration"] == Recipe().calibration
    for bundle in exported.bundles:
        assert str(run) not in (bundle.folder / "bundle.json").read_text("utf-8")


def test_an_export_again_replaces_the_bundles_with_the_same(
    exported: ExportResult, run: Path
) -> None:
    out = exported.bundles[0].folder.parent
    again = export_run(run, out, int8=False, name="made")
    assert again.agreement is None
    assert [bundle.fingerprint for bundle in again.bundles] == [exported.bundles[0].fingerprint]
    assert Bundle.open(out / "made-int8") == exported.bundles[1]


def test_int8_embeds_figures_much_like_fp32(exported: ExportResult, run: Path) -> None:
    figures = list(CutDrawings.read(run, CONFIG).squares[:20])
    fp32, int8 = (
        embed_figures(load_encoder(bundle, threads=1), figures) for bundle in exported.bundles
    )
    assert (fp32 * int8).sum(axis=1).mean() > 0.5


def test_what_is_no_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml"):
        export_run(tmp_path, tmp_path / "out", int8=False, name="made")
    with pytest.raises(ConfigError, match="no name for a folder"):
        export_run(tmp_path, tmp_path / "out", int8=False, name="../made")
    assert not (tmp_path / "out").exists()


def test_a_run_without_its_drawings_or_with_too_few_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", designs=20)
    with pytest.raises(ConfigError, match="too few to calibrate"):
        export_run(run, tmp_path / "out", int8=True, name="made")
    fitted = run / "cache" / "b" / "fitted.npy"
    fitted.write_bytes(fitted.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="b: damaged"):
        export_run(run, tmp_path / "out", int8=False, name="made")
    shutil.rmtree(run / "cache")
    with pytest.raises(ConfigError, match="no cut drawings") as caught:
        export_run(run, tmp_path / "out", int8=False, name="made")
    assert "edge-ret train --resume" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_cache_of_another_size_is_not_the_runs(run: Path) -> None:
    with pytest.raises(ConfigError, match="no cut drawings"):
        CutDrawings.read(run, replace(CONFIG, size=64))
