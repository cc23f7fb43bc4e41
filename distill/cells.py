"""Cells: what a network says of each part of a drawing, for a student to learn part by part.

One embedding a drawing is little to learn from, and a student that is shown few drawings learns
them by heart. Of a grid of 5 x 5 cells it learns 25 times as much from each, and what lines in one
cell look like comes back in many drawings. A cell is described as `distill.pooling.Levels`
describes the whole: mean and deviation of every level's channels, over its places alone.

Source:
    Romero et al., FitNets: Hints for Thin Deep Nets, arXiv:1412.6550: a student that also learns
    the maps within its teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from distill.pooling import FLOOR


def cell_features(maps: Sequence[Tensor], side: int) -> Tensor:
    """Describe every cell of a grid by the maps of a network.

    Args:
        maps: Of its levels, ``(N, C, h, w)`` each, fine to coarse.
        side: Cells along each side of the grid; a place on a border counts for both by its shares.

    Returns:
        ``(N, side * side, F)``, cells row by row: of each level the means, then the deviations of
        its channels.
    """
    parts = []
    for level in maps:
        values = level.float()
        # Coarser in whole steps first: products of matrices over the finest maps take long.
        ratio = values.shape[-1] // maps[-1].shape[-1]
        mean = _means(values, ratio, side)
        square = _means(values * values, ratio, side)
        parts += [mean, ((square - mean * mean).clamp(min=0) + FLOOR).sqrt()]
    return torch.cat(parts, 1).flatten(2).transpose(1, 2)


def _means(values: Tensor, ratio: int, side: int) -> Tensor:
    """Return ``(N, C, side, side)``, the mean over each cell."""
    if ratio > 1:
        values = avg_pool2d(values, ratio)
    high, wide = values.shape[-2:]
    if high == wide and high % side == 0:
        return avg_pool2d(values, high // side) if high > side else values
    down, across = (_shares(count, side).to(values.device) for count in (high, wide))
    return down @ values @ across.T


def _shares(count: int, side: int) -> Tensor:
    """Return ``(side, count)``: the share that each of so many places has in each cell."""
    edges = torch.arange(side + 1) * (count / side)
    places = torch.arange(count)
    inside = torch.minimum(edges[1:, None], places + 1) - torch.maximum(edges[:-1, None], places)
    shares = inside.clamp(min=0)
    return shares / shares.sum(1, keepdim=True)


class CellMap(nn.Module):
    """A student's cells, mapped to what the teacher says of them.

    Args:
        width: Features of a cell.
        dim: Numbers that the teacher has for one.
        side: Of the grid.
        generator: Draws the weights.
    """

    def __init__(self, width: int, dim: int, side: int, generator: torch.Generator) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.linear = nn.Linear(width, dim, device="meta").to_empty(device="cpu")
        for parameter in self.linear.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=generator)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Turn the maps of N drawings into ``(N, side * side, dim)``."""
        cells = cell_features(maps, self.side)  # (N, S, F)
        mapped: Tensor = self.linear(self.norm(cells.flatten(0, 1)))
        return mapped.view(*cells.shape[:2], -1)


def mirrored(cells: Tensor, side: int) -> Tensor:
    """Return ``(N, side * side, D)`` of a drawing's cells as they are of its mirror image."""
    grid = cells.reshape(len(cells), side, side, -1)  # (N, row, column, D)
    return grid.flip(2).reshape(cells.shape)
