"""What tests of training share: a small source that can be learned in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

torch.set_num_threads(1)  # the networks here are tiny: more threads only wait for each other


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 classes x 2 subclasses x 6 designs x 3 figures: corners by class, size and slant vary."""
    root = tmp_path_factory.mktemp("shapes")
    for number in range(36):
        kind, sort = number % 3, number % 6
        rng = np.random.default_rng(number)
        corners = rng.uniform(20, 100, (3 + 2 * kind, 2))
        folder = root / f"kind{kind}" / f"sort{sort}" / f"D{number}0"
        folder.mkdir(parents=True)
        for figure in range(3):
            image = Image.new("L", (120, 120), 255)
            points = [tuple(point) for point in corners + rng.normal(0, 3, corners.shape)]
            ImageDraw.Draw(image).polygon(points, outline=0, width=2 + 3 * (sort // 3))
            image.save(folder / f"{figure}.png")
    return root
