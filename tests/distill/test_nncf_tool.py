"""NNCF quantizes to either format, says nothing, and reaches nobody."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from distill.nncf_tool import NncfRecipe, nncf_onnx, nncf_openvino
from distill.onnx_file import export_fp32, runner
from distill.quantize import LEAST_DRAWINGS
from edge_retrieval.arrays import Images
from edge_retrieval.errors import BundleError, ConfigError

DIM = 8


def images(count: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).normal(size=(count, 1, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = torch.Generator().manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, DIM),
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    path = tmp_path_factory.mktemp("nncf") / "fp32.onnx"
    export_fp32(network, size=16, channels=1, dim=DIM, path=path)
    return path


@pytest.fixture(scope="module", params=["model.onnx", "model.xml"])
def quantized(
    request: pytest.FixtureRequest, fp32: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path: Path = tmp_path_factory.mktemp("int8") / request.param
    make = nncf_onnx if path.suffix == ".onnx" else nncf_openvino
    make(fp32, path, images(LEAST_DRAWINGS), NncfRecipe(float_ends=True, products_only=True))
    return path


def test_int8_is_near_fp32_and_rows_have_length_one(quantized: Path, fp32: Path) -> None:
    shown = images(30, seed=1)
    first, second = runner(fp32)(shown), runner(quantized)(shown)
    assert np.allclose(np.linalg.norm(second, axis=1), 1.0, atol=1e-4)
    assert (first * second).sum(axis=1).mean() > 0.99


def test_weights_are_stored_in_8_bits(quantized: Path, fp32: Path) -> None:
    stored = quantized.with_suffix(".bin") if quantized.suffix == ".xml" else quantized
    assert stored.stat().st_size < fp32.stat().st_size / 2  # small: names and scales count


def test_equal_recipes_give_equal_bytes(quantized: Path, fp32: Path, tmp_path: Path) -> None:
    make = nncf_onnx if quantized.suffix == ".onnx" else nncf_openvino
    recipe = NncfRecipe(float_ends=True, products_only=True)
    make(fp32, tmp_path / quantized.name, images(LEAST_DRAWINGS), recipe)
    assert (tmp_path / quantized.name).read_bytes() == quantized.read_bytes()


def test_nothing_is_printed_and_no_generator_is_moved(
    fp32: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    recipe = NncfRecipe()
    nncf_openvino(fp32, tmp_path / "model.xml", images(LEAST_DRAWINGS), recipe)
    nncf_onnx(fp32, tmp_path / "model.onnx", images(LEAST_DRAWINGS), recipe)
    assert capfd.readouterr() == ("", "")
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert before == after


def test_layers_that_are_named_stay_in_float(fp32: Path, tmp_path: Path) -> None:
    names = [node.name for node in onnx.load(fp32).graph.node if node.op_type == "Conv"]
    found = []
    for kept in ((), (names[1],)):
        recipe = NncfRecipe(products_only=True, float_nodes=kept)
        nncf_onnx(fp32, tmp_path / "x.onnx", images(LEAST_DRAWINGS), recipe)
        nodes = onnx.load(tmp_path / "x.onnx").graph.node
        found.append(sum(node.op_type == "QuantizeLinear" for node in nodes))
    assert found[1] < found[0]


def test_what_cannot_be_quantized_is_one_clear_error(fp32: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too few to calibrate"):
        nncf_onnx(fp32, tmp_path / "x.onnx", images(LEAST_DRAWINGS - 1), NncfRecipe())
    wrong = np.zeros((LEAST_DRAWINGS, 3, 16, 16), np.float32)
    with pytest.raises(BundleError, match=r"fp32\.onnx: NNCF cannot quantize it") as caught:
        nncf_openvino(fp32, tmp_path / "x.xml", wrong, NncfRecipe())
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="bias_correction"):
        NncfRecipe(bias_correction="much")
    with pytest.raises(ConfigError, match="too few"):
        NncfRecipe(drawings=3)


WATCHED = """
import sys

reached = []
def watch(event, arguments):
    # The telemetry of these libraries talks from a process that it starts.
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.exec")):
        reached.append((event, str(arguments)))
sys.addaudithook(watch)

from pathlib import Path
import numpy as np
from distill.candidates import Candidate, Workshop
from distill.nncf_tool import NncfRecipe
from distill.onnx_file import to_fp16, to_openvino
from distill.quantize import Recipe

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
images = np.random.default_rng(0).normal(size=(100, 1, 16, 16)).astype(np.float32)
workshop = Workshop(source, images, folder)
for format in ("onnx", "openvino"):
    workshop.build(Candidate("a", format, "onnxruntime", Recipe()))
    workshop.build(Candidate("b", format, "nncf", NncfRecipe()))
to_fp16(source, folder / "half.onnx")
to_openvino(source, folder / "whole.xml")
assert "pytest" not in sys.modules and "nncf" in sys.modules
assert not reached, reached
assert sys.modules.get("openvino_telemetry") is None
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
"""


def test_no_export_connects_to_anything(fp32: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(fp32), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": "", "HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert not (tmp_path / "home").exists(), "a file of an identity or a consent"
