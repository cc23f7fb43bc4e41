"""Candidates come in the order of what won, are built alone, and refined only where that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill import candidates as module
from distill.candidates import FORMATS, Candidate, Workshop, candidates, refine
from distill.config import TrainConfig
from distill.model import make_student
from distill.nncf_tool import NncfRecipe
from distill.onnx_file import export_fp32, runner
from distill.quantize import LEAST_DRAWINGS, Recipe
from distill.sensitivity import embedded
from edge_retrieval.arrays import Images
from edge_retrieval.errors import BundleError, ConfigError

BACKBONES = (
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small",
    "resnet18",
    "vit_tiny_patch16_224",
    "lcnet_050",
    "a_backbone_that_nobody_knows",
)


def drawings(count: int, seed: int = 0) -> Images:
    """White paper with black lines."""
    rng = np.random.default_rng(seed)
    images = np.ones((count, 1, 32, 32), np.float32)
    for image, rows, columns in zip(
        images[:, 0], rng.integers(2, 30, (count, 4)), rng.integers(2, 30, (count, 4)), strict=True
    ):
        image[rows, :] = -1.0
        image[:, columns[:2]] = -1.0
    return images


def exported(folder: Path, backbone: str) -> Path:
    config = TrainConfig(backbone=backbone, size=32, dim=16)
    student = make_student(config)
    for part in student.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            part.momentum = None
    with torch.no_grad():
        student.train()(torch.from_numpy(drawings(128, seed=5)))
    path = folder / "fp32.onnx"
    export_fp32(student.eval(), size=32, channels=1, dim=16, path=path)
    return path


@pytest.fixture(scope="module", params=["test_efficientnet", "test_vit"])
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    fp32 = exported(folder, request.param)
    return Workshop(fp32, drawings(LEAST_DRAWINGS), folder / "built")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_candidates_of_both_tools(format: str, backbone: str) -> None:
    found = candidates(format, backbone=backbone)
    names = [one.name for one in found]
    assert len(set(names)) == len(names) >= 6
    assert {one.tool for one in found} == {"onnxruntime", "nncf"}
    assert {one.format for one in found} == {format}
    assert len({one.recipe for one in found}) == len(found), "no way twice"
    for one in found:
        assert isinstance(one.recipe, NncfRecipe if one.tool == "nncf" else Recipe)
        assert one.to_json()["recipe"]["drawings"] == 300


@pytest.mark.parametrize("format", FORMATS)
def test_what_won_before_is_tried_first(format: str) -> None:
    usual = [one.name for one in candidates(format, backbone="resnet18")]
    won = (usual[4], "a name of an older version", usual[2])
    found = [one.name for one in candidates(format, backbone="resnet18", won=won)]
    assert found[:2] == [usual[4], usual[2]]
    assert found[2:] == [name for name in usual if name not in won]


def test_a_format_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no format 'tflite'"):
        candidates("tflite", backbone="resnet18")


@pytest.mark.parametrize("format", FORMATS)
def test_every_candidate_is_built_alone_and_runs(workshop: Workshop, format: str) -> None:
    shown = drawings(24, seed=1)
    reference = embedded(runner(workshop.fp32), shown)
    built = set()
    backbone = "test_vit" if b"Softmax" in workshop.fp32.read_bytes() else "test_efficientnet"
    for one in candidates(format, backbone=backbone):
        model = workshop.build(one)
        files = sorted(path.name for path in model.parent.iterdir())
        assert files == (["model.onnx"] if format == "onnx" else ["model.bin", "model.xml"])
        found = embedded(runner(model), shown)
        assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-3), one.name
        assert (found * reference).sum(axis=1).mean() > 0.5, one.name  # random weights: coarse
        built.add(model)
    assert len(built) == len(candidates(format, backbone=backbone))


def test_a_candidate_built_again_is_the_same(workshop: Workshop) -> None:
    for format in FORMATS:
        one = candidates(format, backbone="resnet18")[0]
        first = workshop.build(one).read_bytes()
        assert workshop.build(one).read_bytes() == first


def test_a_tool_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no network")
    workshop = Workshop(tmp_path / "no.onnx", drawings(LEAST_DRAWINGS), tmp_path / "built")
    for format in FORMATS:
        for one in candidates(format, backbone="resnet18"):
            with pytest.raises(BundleError, match=r"no\.onnx") as caught:
                workshop.build(one)
            assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "built").write_text("a file")
    workshop = Workshop(tmp_path / "fp32.onnx", drawings(LEAST_DRAWINGS), tmp_path / "built")
    with pytest.raises(BundleError, match="cannot be written"):
        workshop.build(candidates("onnx", backbone="resnet18")[0])


def losses(monkeypatch: pytest.MonkeyPatch, by_count: dict[int, float]) -> Workshop:
    """A workshop whose candidates lose what the number of their layers in float says."""

    class Counting(Workshop):
        def build(self, candidate: Candidate) -> Path:
            return Path(str(len(candidate.recipe.float_nodes)))

        def rank(self, recipe: Recipe) -> list[str]:
            return [f"layer{number}" for number in range(6)]

    monkeypatch.setattr(module, "runner", lambda path: path)
    monkeypatch.setattr(module, "embedded", lambda run, images: images)
    monkeypatch.setattr(module, "loss", lambda path, *_: by_count[int(str(path))])
    return Counting(Path("fp32.onnx"), drawings(2), Path("built"))


def test_layers_go_back_to_float_while_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate("8 bits", "onnx", "onnxruntime", Recipe())
    workshop = losses(monkeypatch, {0: 0.1, 1: 0.12, 2: 0.02, 4: 0.0199})
    refined = refine(workshop, candidate)
    assert refined is not None
    assert refined.name == "8 bits, 2 more in float"
    assert refined.recipe.float_nodes == ("layer0", "layer1")


def test_a_candidate_that_float_layers_do_not_help_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate("NNCF", "openvino", "nncf", NncfRecipe())
    flat = dict.fromkeys(range(9), 0.1)
    assert refine(losses(monkeypatch, flat), candidate) is None


def test_a_real_network_is_refined(workshop: Workshop) -> None:
    coarse = Recipe(calibration="min-max", per_channel=False, float_ends=False)
    refined = refine(workshop, Candidate("coarse", "onnx", "onnxruntime", coarse))
    assert refined is not None
    assert refined.recipe.float_nodes
