"""TrainConfig: what is wrong is said, what is right survives TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import distill
from distill.config import TrainConfig
from edge_retrieval.errors import ConfigError, MissingExtraError


def test_a_config_survives_toml(tmp_path: Path) -> None:
    config = TrainConfig(weights='C:\\a "b".safetensors', mass=(0.5, 0.25, 0.25), lr=1e-5, seed=7)
    config.save(tmp_path / "config.toml")
    assert TrainConfig.load(tmp_path / "config.toml") == config


def test_what_toml_does_not_name_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("lr = 1\nmass = [0, 0, 1]\n")
    assert TrainConfig.load(tmp_path / "c.toml") == TrainConfig(lr=1.0, mass=(0.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("name", "nearest"), [("temperture", "temperature"), ("epoch", "epochs"), ("batch_sise", "")]
)
def test_an_unknown_setting_suggests_the_nearest_name(
    tmp_path: Path, name: str, nearest: str
) -> None:
    (tmp_path / "c.toml").write_text(f"{name} = 1\n")
    with pytest.raises(ConfigError, match=name) as of_a_file:
        TrainConfig.load(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match=name) as of_a_line:
        TrainConfig().with_settings([f"{name}=1"])
    assert nearest in of_a_file.value.hint
    assert nearest in of_a_line.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"temperature": float("nan")},
        {"lr": "fast"},
        {"epochs": 1.5},
        {"epochs": True},
        {"size": 100},
        {"channels": 2},
        {"figures": 1},
        {"designs": 1e300},
        {"figures": 10**6},
        {"steps": 10**400},
        {"mass": (0.5, 0.5, 0.0)},
        {"mass": (-0.5, 0.5, 1.0)},
        {"mass": ()},
        {"mass": 1.0},
        {"backbone": ""},
        {"held_out": 0.95},
    ],
)
def test_a_wrong_value_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**wrong)
    assert next(iter(wrong)) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["lr", "lr=", "epochs=many", "mass=a,b", "lr=[1]"])
def test_a_setting_of_the_command_line_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        TrainConfig().with_settings([text])


def test_settings_of_the_command_line_are_read_by_their_kind() -> None:
    config = TrainConfig().with_settings(
        ["backbone=resnet18", "steps=2000", "lr=1e-3", "mass=0,0.5,1"]
    )
    expected = TrainConfig(backbone="resnet18", steps=2000, lr=1e-3, mass=(0.0, 0.5, 1.0))
    assert config == expected


@pytest.mark.parametrize("content", [None, b"lr 1", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml"):
        TrainConfig.load(tmp_path / "c.toml")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    distill.require("train")
    monkeypatch.setitem(distill.EXTRAS, "train", ("training", ("no_such_module",)))
    with pytest.raises(MissingExtraError, match="training"):
        distill.require("train")
    with pytest.raises(ConfigError):
        distill.require("trian")
