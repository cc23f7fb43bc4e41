"""Packed weights are near what they were, in a quarter of the bytes, whoever runs the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from distill.onnx_file import export_fp32
from distill.packing import in_order, pack_ir, pack_weights, shorten
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.encoder import import_openvino, openvino_core


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 8, stride=8),
        nn.ReLU(),
        nn.Conv2d(32, 64, 1),
        nn.Flatten(2),
        nn.Linear(16, 128, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8192, 8),
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    path = tmp_path_factory.mktemp("packing") / "fp32.onnx"
    export_fp32(network, size=32, channels=1, dim=8, path=path)
    return path


def run(path: Path, backend: str, images: Images) -> Embeddings:
    if backend == "openvino":
        core = openvino_core()
        model = core.compile_model(core.read_model(str(path)), "CPU")
        return np.array(model({"images": images})["embeddings"])
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.array(session.run(["embeddings"], {"images": images})[0])


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_packed_network_computes_nearly_the_same_on_both_runtimes(
    backend: str, fp32: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.onnx"
    onnx.save(shorten(pack_weights(onnx.load(fp32))), packed)
    assert packed.stat().st_size < fp32.stat().st_size / 3.5
    images: Images = np.random.default_rng(0).normal(size=(5, 1, 32, 32)).astype(np.float32)
    first, second = run(fp32, backend, images), run(packed, backend, images)
    assert (first * second).sum(axis=1).min() > 0.999


def test_each_output_channel_has_its_own_scale(fp32: Path) -> None:
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(fp32).graph.initializer}
    model = pack_weights(onnx.load(fp32))
    after = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    packed = [name for name in before if f"{name}_int8" in after]
    assert len(packed) == 4
    for name in packed:
        whole, scale = after[f"{name}_int8"], after[f"{name}_scale"]
        assert whole.dtype == np.int8
        assert np.abs(whole.astype(int)).max() == 127
        again = whole.astype(np.float32) * scale
        assert (np.abs(again - before[name]) <= scale / 2 * 1.001).all()


def test_a_weight_of_zeros_stays_zero(fp32: Path) -> None:
    model = onnx.load(fp32)
    for tensor in model.graph.initializer:
        values = np.zeros_like(onnx.numpy_helper.to_array(tensor))
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for tensor in pack_weights(model).graph.initializer:
        if tensor.name.endswith("_scale"):
            assert (onnx.numpy_helper.to_array(tensor) == 1).all()


def test_short_names_leave_the_ends_and_a_valid_graph(fp32: Path) -> None:
    model = shorten(onnx.load(fp32))
    onnx.checker.check_model(model, full_check=True)
    assert [end.name for end in model.graph.input] == ["images"]
    assert [end.name for end in model.graph.output] == ["embeddings"]
    assert all(len(tensor.name) < 3 for tensor in model.graph.initializer)


def test_nodes_come_after_those_that_they_take_from(fp32: Path) -> None:
    model = shorten(onnx.load(fp32))
    sound = [node.output[0] for node in model.graph.node]
    assert [node.output[0] for node in in_order(model).graph.node] == sound  # nothing to mend
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(model)
    onnx.checker.check_model(in_order(model), full_check=True)
    assert {node.output[0] for node in model.graph.node} == set(sound)


def test_the_network_that_ships_keeps_the_rules_of_its_format() -> None:
    model = onnx.load(Bundle.open(default_bundle_path()).model)
    onnx.checker.check_model(model, full_check=True)


def test_a_packed_ir_is_smaller_and_computes_the_same(fp32: Path, tmp_path: Path) -> None:
    openvino = import_openvino()
    whole, packed = tmp_path / "whole.xml", tmp_path / "packed.xml"
    for path in (whole, packed):
        openvino.save_model(openvino.convert_model(str(fp32)), str(path), compress_to_fp16=False)
    pack_ir(packed)
    assert packed.stat().st_size < 0.7 * whole.stat().st_size
    images: Images = np.random.default_rng(0).normal(size=(5, 1, 32, 32)).astype(np.float32)
    assert np.array_equal(run(whole, "openvino", images), run(packed, "openvino", images))


def test_constants_of_equal_bytes_and_shape_are_one_layer(fp32: Path, tmp_path: Path) -> None:
    openvino = import_openvino()
    model = onnx.load(fp32)
    for tensor in [t for t in model.graph.initializer if t.name.endswith("weight")][:1]:
        twin = onnx.TensorProto()
        twin.CopyFrom(tensor)
        twin.name = "twin"
        model.graph.initializer.append(twin)
        [user] = [node for node in model.graph.node if tensor.name in node.input]
        model.graph.node.extend(
            [onnx.helper.make_node("Add", [tensor.name, "twin"], ["doubled"], name="doubled")]
        )
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info("doubled"))
        assert user.name
    onnx.save(model, tmp_path / "twins.onnx")
    path = tmp_path / "twins.xml"
    openvino.save_model(openvino_core().read_model(str(tmp_path / "twins.onnx")), str(path))
    before = path.read_text("utf-8").count('type="Const"')
    pack_ir(path)
    assert path.read_text("utf-8").count('type="Const"') < before
    openvino_core().compile_model(str(path), "CPU")
