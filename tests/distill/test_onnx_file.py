"""A network as a file computes what it did before, in as few bytes, and tells no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from distill import onnx_file
from distill.onnx_file import export_fp32, is_quantized, to_fp16, to_openvino
from edge_retrieval.encoder import openvino_core
from edge_retrieval.errors import BundleError


class Small(nn.Module):
    """Rows that are not of length 1: the export has to see to that."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.projection = nn.Linear(4, 6)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.convolution(images)).relu().mean((2, 3))
        projected: Tensor = self.projection(features) * 3
        return projected


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "model.onnx"
    assert export_fp32(Small(), size=16, channels=1, dim=6, path=path) < 1e-5
    return path


def test_an_export_is_one_file_with_named_ends_and_any_batch(small: Path) -> None:
    assert [path.name for path in small.parent.iterdir()] == ["model.onnx"]
    graph = onnx.load(small, load_external_data=False).graph
    ends = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert ends == {"images": ["n", 1, 16, 16], "embeddings": ["n", 6]}


def test_an_export_gives_rows_of_length_one(small: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(small), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(7, 1, 16, 16)).astype(np.float32)
    [rows] = session.run(["embeddings"], {"images": images})
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_an_export_tells_nothing_of_the_machine_that_made_it(small: Path) -> None:
    data = small.read_bytes()
    for word in (str(Path.cwd()), str(Path(__file__).parent), "site-packages", "stack_trace"):
        assert word.encode() not in data


def test_an_export_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_fp32(Small(3), size=16, channels=3, dim=6, path=tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_network_of_another_dimension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"not \(1, 7\)"):
        export_fp32(Small(), size=16, channels=1, dim=7, path=tmp_path / "model.onnx")


def test_a_network_that_differs_from_torch_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "parity", lambda *_, **__: float("nan"))
    with pytest.raises(BundleError, match="differs from torch"):
        export_fp32(Small(), size=16, channels=1, dim=6, path=tmp_path / "model.onnx")


def test_a_network_that_torch_cannot_export_is_one_clear_error(tmp_path: Path) -> None:
    class Undecided(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))

    with pytest.raises(BundleError, match="torch cannot export Undecided") as caught:
        export_fp32(Undecided(), size=16, channels=1, dim=1, path=tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_fp16_halves_the_file_and_computes_in_fp32(tmp_path: Path) -> None:
    source, target = tmp_path / "fp32.onnx", tmp_path / "fp16.onnx"
    export_fp32(Wide(), size=16, channels=1, dim=64, path=source)
    worst = to_fp16(source, target)
    assert 0 < worst < 1e-3
    assert target.stat().st_size < 0.52 * source.stat().st_size
    graph = onnx.load(target).graph
    made = {node.output[0] for node in graph.node if node.op_type == "Cast"}
    assert {"model.2.weight"} <= made
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {
        onnx.TensorProto.FLOAT
    }


def test_weights_beyond_fp16_stay_in_fp32(tmp_path: Path) -> None:
    network = Wide()
    with torch.no_grad():
        network[2].weight[0, 0] = 1e6
    export_fp32(network, size=16, channels=1, dim=64, path=tmp_path / "fp32.onnx")
    assert to_fp16(tmp_path / "fp32.onnx", tmp_path / "fp16.onnx") < 1e-3
    kinds = {t.name: t.data_type for t in onnx.load(tmp_path / "fp16.onnx").graph.initializer}
    assert kinds["model.2.weight"] == onnx.TensorProto.FLOAT


class Wide(nn.Sequential):
    """Weights enough that they are the file."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.ReLU(), nn.Linear(256, 64))


@pytest.fixture(scope="module")
def ir(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ir") / "model.xml"
    assert to_openvino(small, path) < 1e-5
    return path


def test_the_ir_is_two_files_with_the_same_ends(ir: Path) -> None:
    assert sorted(path.name for path in ir.parent.iterdir()) == ["model.bin", "model.xml"]
    model = openvino_core().read_model(str(ir))
    ends = [(port.get_any_name(), str(port.get_partial_shape())) for port in model.inputs]
    assert ends == [("images", "[?,1,16,16]")]
    assert [port.get_any_name() for port in model.outputs] == ["embeddings"]


def test_equal_networks_give_equal_irs_that_tell_nothing(
    ir: Path, small: Path, tmp_path: Path
) -> None:
    to_openvino(small, tmp_path / "again.xml")
    assert (tmp_path / "again.xml").read_bytes() == ir.read_bytes()
    assert (tmp_path / "again.bin").read_bytes() == ir.with_suffix(".bin").read_bytes()
    for word in (small.name, str(small.parent), "conversion_parameters"):
        assert word not in ir.read_text("utf-8")


def test_an_ir_of_fp16_is_half_the_size(tmp_path: Path) -> None:
    source = tmp_path / "fp32.onnx"
    export_fp32(Wide(), size=16, channels=1, dim=64, path=source)
    to_openvino(source, tmp_path / "a.xml")
    assert 0 < to_openvino(source, tmp_path / "b.xml", fp16=True) < 1e-3
    whole, half = (tmp_path / f"{name}.bin" for name in "ab")
    assert half.stat().st_size < 0.51 * whole.stat().st_size


def test_what_openvino_cannot_convert_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no network")
    with pytest.raises(BundleError, match=r"no\.onnx: OpenVINO cannot convert it") as caught:
        to_openvino(tmp_path / "no.onnx", tmp_path / "no.xml")
    assert "\n" not in str(caught.value)


def test_an_ir_that_differs_is_refused(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MOST_ERROR", -1.0)
    with pytest.raises(BundleError, match="differs from the FP32 ONNX file"):
        to_openvino(small, tmp_path / "model.xml")


def test_a_file_in_fp32_is_not_quantized(small: Path) -> None:
    assert not is_quantized(small)


def test_conversions_are_quiet(
    small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to_openvino(small, tmp_path / "model.xml")
    to_fp16(small, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
