"""The student and the encoder made of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from distill.config import TrainConfig
from distill.model import TorchEncoder, load_student, make_student, preprocessing_of
from edge_retrieval.errors import ConfigError

TINY = TrainConfig(backbone="test_efficientnet", size=32, dim=16)


def images(count: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, channels, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_embeddings_are_rows_of_length_one_however_many(channels: int) -> None:
    config = TrainConfig(backbone="test_efficientnet", size=32, dim=16, channels=channels)
    encoder = TorchEncoder(make_student(config), preprocessing_of(config), batch=3)
    rows = encoder.embed(images(7, channels))
    assert rows.shape == (7, 16) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert encoder.embed(images(0, channels)).shape == (0, 16)


def test_a_row_depends_on_its_figure_alone() -> None:
    encoder = TorchEncoder(make_student(TINY), preprocessing_of(TINY))
    together = encoder.embed(images(5))
    alone = np.concatenate([encoder.embed(image[None]) for image in images(5)])
    assert np.allclose(together, alone, atol=1e-5)


def test_embedding_leaves_a_training_network_in_training() -> None:
    student = make_student(TINY).train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    TorchEncoder(student, preprocessing_of(TINY)).embed(images(4))
    assert student.training
    assert all(torch.equal(before[name], v) for name, v in student.state_dict().items())


def test_equal_configs_start_equal_and_leave_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second = make_student(TINY), make_student(TINY)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = make_student(TrainConfig(backbone="test_efficientnet", size=32, dim=16, seed=1))
    print_of = [TorchEncoder(s, preprocessing_of(TINY)).fingerprint for s in (first, second, other)]
    assert print_of[0] == print_of[1] != print_of[2]


def test_every_backbone_that_we_speak_of_can_be_made() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("mobilenetv3_small_100", "lcnet_050", "mobilenetv4_conv_small"):
            student = make_student(TrainConfig(backbone=name, size=32, dim=8)).eval()
            assert student(torch.from_numpy(images(2))).shape == (2, 8)


def test_an_unknown_backbone_is_told_with_examples() -> None:
    with pytest.raises(ConfigError, match="mobilenetv3_smal") as caught:
        make_student(TrainConfig(backbone="mobilenetv3_smal"))
    assert "mobilenetv3" in caught.value.hint


def test_backbone_weights_come_from_a_file_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    student, file = make_student(TINY), tmp_path / "w.safetensors"
    save_file({k: v.contiguous() for k, v in student.backbone.state_dict().items()}, file)
    loaded = make_student(
        TrainConfig(backbone="test_efficientnet", size=32, dim=16, seed=3, weights=str(file))
    )
    for name, value in student.backbone.state_dict().items():
        assert torch.equal(loaded.backbone.state_dict()[name], value)
    with pytest.raises(ConfigError, match=r"w\.safetensors"):
        make_student(TrainConfig(backbone="lcnet_050", size=32, weights=str(file)))
    file.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"w\.safetensors"):
        make_student(TrainConfig(backbone="test_efficientnet", size=32, weights=str(file)))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_student(tmp_path)
    TINY.save(tmp_path / "config.toml")
    with pytest.raises(ConfigError, match="best"):
        load_student(tmp_path)


def test_a_run_starts_from_the_checkpoint_of_a_run_at_another_size(tmp_path: Path) -> None:
    small = TrainConfig(backbone="test_efficientnet", size=32, dim=16, seed=3)
    first = make_student(small)
    with torch.no_grad():
        first.projection.weight.fill_(0.25)
    file = tmp_path / "best.safetensors"
    save_file(first.state_dict(), file)
    later = make_student(
        TrainConfig(backbone="test_efficientnet", size=64, dim=16, seed=4, weights=str(file))
    )
    for name, value in later.state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name
