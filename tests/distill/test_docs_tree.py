"""What docs/pictures/tree.svg shows of the targets is what the loss makes of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from distill.config import TrainConfig
from distill.losses import hierarchical_target
from edge_retrieval.taxonomy import Taxonomy

SCRIPT = Path(__file__).parents[2] / "docs" / "making" / "pictures.py"


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_targets_that_the_picture_shows_are_those_of_the_loss(pictures: ModuleType) -> None:
    paths = [one[:3] for one in pictures.TREE for _ in one[4]]
    codes = Taxonomy.of(paths, ("class", "subclass", "design")).encode(paths)
    assert TrainConfig().mass == pictures.MASS
    wanted = hierarchical_target(torch.from_numpy(np.array(codes)), pictures.MASS)[0, 1:]
    shown = [share for _, share in pictures.targets()]
    assert shown == pytest.approx(wanted.tolist())
