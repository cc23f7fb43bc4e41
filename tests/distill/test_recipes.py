"""Every recipe loads, and its network trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from distill.config import TrainConfig
from distill.recipes import recipe_names, recipe_path
from distill.train import train
from edge_retrieval.errors import ConfigError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 classes x 1 subclass x 4 designs x 2 figures."""
    root = tmp_path_factory.mktemp("drawings")
    for number in range(8):
        rng = np.random.default_rng(number)
        folder = root / f"kind{number % 2}" / "sort" / f"D{number}0"
        folder.mkdir(parents=True)
        corners = rng.uniform(10, 50, (3 + 2 * (number % 2), 2))
        for figure in range(2):
            image = Image.new("L", (60, 60), 255)
            points = [tuple(point) for point in corners + rng.normal(0, 2, corners.shape)]
            ImageDraw.Draw(image).polygon(points, outline=0, width=2)
            image.save(folder / f"{figure}.png")
    return root


def test_there_is_a_recipe_for_every_backbone_that_we_speak_of() -> None:
    assert recipe_names() == [
        "lcnet_050", "mobilenetv3_small_100", "mobilenetv4_conv_small", "resnet18",
        "vit_tiny_patch16_224",
    ]  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_of_its_name_downloads_nothing_and_has_a_size_of_use(name: str) -> None:
    config = TrainConfig.load(recipe_path(name))
    assert config.backbone == name and config.weights == "none"
    assert 128 <= config.size <= 384


@pytest.mark.parametrize("name", recipe_names())
def test_the_network_of_a_recipe_trains(name: str, source: Path, tmp_path: Path) -> None:
    config = TrainConfig.load(recipe_path(name)).with_settings(
        ["size=32", "steps=2", "classes=2", "subclasses=1", "designs=2", "held_out=0",
         "threads=1", "dim=8"]
    )  # fmt: skip
    result = train(config, [source], tmp_path / "run", cache=tmp_path / "cache")
    assert result.steps == 2


def test_an_unknown_recipe_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="resnet19") as caught:
        recipe_path("resnet19")
    assert "resnet18" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        recipe_path("../config")
    assert "lcnet_050" in caught.value.hint
