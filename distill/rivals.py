"""The losses that others have: thin wrappers of pytorch-metric-learning, on design numbers.

Each is a module called with embeddings ``(N, D)`` float32 and designs ``(N,)`` int64, all known.
The package is imported when one is made: who trains with our own losses does not need it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edge_retrieval.errors import MissingExtraError

_LARGEST_COSINE = 1 - 1e-6


class MultiSimilarity(nn.Module):
    """Multi-Similarity loss on the pairs that its miner keeps, as Wang et al., CVPR 2019, use it.

    alpha 2, beta 50, base 0.5, epsilon 0.1: the package's settings (its authors' code: beta 40).
    """

    def __init__(self) -> None:
        super().__init__()
        losses, miners = _package()
        self.loss = losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)
        self.miner = miners.MultiSimilarityMiner(epsilon=0.1)

    def forward(self, embeddings: Tensor, designs: Tensor) -> Tensor:
        pairs = self.miner(embeddings.detach(), designs)
        loss: Tensor = self.loss(embeddings, designs, pairs)
        return loss


def arc_face(
    dim: int, designs: int, *, margin: float, scale: float, generator: torch.Generator
) -> nn.Module:
    """ArcFace (Deng et al., CVPR 2019): one weight vector a design.

    The package's, but for two things. The weights start with deviation 0.01, as in the authors' own
    code, not 1: only a vector's direction counts, and Adam's steps, which have an absolute size,
    turn a long one slowly. And where a figure lies on its design's vector, the gradient is finite.

    Args:
        dim: Numbers in an embedding.
        designs: How many.
        margin: Radians.
        scale: Of the cosines.
        generator: Draws the weights.
    """

    def start(weights: Tensor) -> Tensor:
        return nn.init.normal_(weights, std=0.01, generator=generator)

    base: Any = _package()[0].ArcFaceLoss

    class ArcFace(base):  # type: ignore[misc]
        def get_angles(self, cosines: Tensor) -> Tensor:
            # The slope of acos has no end at 1, where a figure lies on its design's vector.
            return cosines.clamp(-_LARGEST_COSINE, _LARGEST_COSINE).acos()

    module: nn.Module = ArcFace(
        num_classes=designs,
        embedding_size=dim,
        margin=math.degrees(margin),  # the package counts in degrees
        scale=scale,
        weight_init_func=start,
    )
    return module


def _package() -> tuple[Any, Any]:
    try:
        from pytorch_metric_learning import (  # type: ignore[import-untyped, unused-ignore]
            losses,
            miners,
        )
    except ImportError as error:
        raise MissingExtraError.of("training with this loss", "train") from error
    return losses, miners
