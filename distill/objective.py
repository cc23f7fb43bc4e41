"""Objective: what training lowers, from the config: a loss over labels, and those of a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from distill.cells import CellMap
from distill.config import LOSSES, TrainConfig
from distill.losses import (
    UNKNOWN,
    hierarchical_loss,
    hierarchical_scores_loss,
    hmlc_loss,
    infonce_loss,
    regression_loss,
    similarity_loss,
    supcon_loss,
)
from distill.rivals import MultiSimilarity, arc_face
from edge_retrieval.errors import ConfigError

__all__ = ["LOSSES", "Labels", "Objective"]


class Labels(NamedTuple):
    """What is known of the figures of a batch.

    Attributes:
        codes: ``(N, L)`` int64, coarse to fine; `UNKNOWN` where a label is not known, and on the
            coarse side where a scheme has fewer levels than others.
        scheme: ``(N,)`` int64: the scheme of each figure, by its place in the run.
    """

    codes: Tensor
    scheme: Tensor


TreeLoss = Callable[[Tensor, Tensor], Tensor]
"""A loss of embeddings (N, D) and codes (N, L) of one scheme."""


class Objective(nn.Module):
    """The loss that the config names, with the weights that a loss has of its own.

    The label loss is the mean over the schemes in the batch, each over its own figures: pairs
    across schemes are neither pulled together nor pushed apart. With a teacher the regression and
    the similarities are added. All of it is the mean over the Matryoshka prefixes, each made of
    length 1 again and with weights of its own (ArcFace, the map to the teacher).

    Losses by name:

    - ``hierarchical``: `hierarchical_loss`, mass fixed per level.
    - ``hierarchical-scores``: `hierarchical_scores_loss`, a score for each pair.
    - ``infonce``: `infonce_loss`, on designs.
    - ``multi-similarity``, ``arcface``: pytorch-metric-learning's, on designs.
    - ``supcon``, ``supcon-class``: `supcon_loss`, positives of one design or of one class (the
      coarsest level of the scheme).
    - ``hmlc``: `hmlc_loss`.
    - ``hierarchical+arcface``: both, ArcFace with the share `arcface_share`.

    Args:
        config: Names the loss and its settings; its seed draws the weights.
        depths: Levels of each scheme. Its codes are the last so many columns.
        designs: Designs of each scheme: its finest codes are 0 to `designs` - 1, or `UNKNOWN`.
        teacher_dim: Numbers in the teacher's embedding; None: no teacher.
        features: Of the backbone; needed with `config.cells` alone.

    Raises:
        ConfigError: A scheme with more levels than `mass` or `scores` has numbers.
        MissingExtraError: A loss of pytorch-metric-learning, which is not installed.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        depths: Sequence[int],
        designs: Sequence[int],
        teacher_dim: int | None = None,
        features: int = 0,
    ) -> None:
        super().__init__()
        assert len(depths) == len(designs), "one depth and one number of designs a scheme"
        self.config = config
        self.depths = tuple(depths)
        self.prefixes = config.prefixes or (config.dim,)
        labelled = config.label_weight > 0
        self.tree_losses = tuple(_tree_loss(config, depth) for depth in depths if labelled)
        mined = labelled and config.loss == "multi-similarity"
        self.design_loss = MultiSimilarity() if mined else None
        generator = torch.Generator().manual_seed(config.seed)
        self.arcface = nn.ModuleList()  # prefix by prefix, the schemes of each
        self.maps = nn.ModuleList()  # one a prefix
        self.taught = teacher_dim is not None
        for prefix in self.prefixes:
            if labelled and "arcface" in config.loss:
                self.arcface.extend(
                    _arc_face(config, prefix, count, generator) for count in designs
                )
            if teacher_dim is not None and config.regression_weight > 0:
                self.maps.append(_linear(prefix, teacher_dim, generator))
        self.cells = None
        if config.cells:
            assert features and teacher_dim is not None, "cells are a teacher's"
            self.cells = CellMap(features, teacher_dim, config.cells, generator)

    def forward(self, embeddings: Tensor, labels: Labels, teacher: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            embeddings: ``(N, dim)`` float, rows of length 1.
            labels: Of the same figures.
            teacher: ``(N, teacher_dim)`` float, rows of length 1.
        """
        assert (teacher is not None) == self.taught, "teacher_dim is of the teacher given here"
        losses = []
        with torch.autocast(embeddings.device.type, enabled=False):
            rows = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
            for number, prefix in enumerate(self.prefixes):
                part = normalize(rows[:, :prefix]) if self.config.prefixes else rows
                loss = (rows * 0).sum()  # has a gradient, whatever is left out below
                if self.config.label_weight:
                    loss = loss + self.config.label_weight * self._label_loss(part, labels, number)
                if teacher is not None:
                    loss = loss + self._teacher_loss(part, teacher.detach(), number)
                losses.append(loss)
        return torch.stack(losses).mean()

    def cell_loss(self, maps: Sequence[Tensor], wanted: Tensor) -> Tensor:
        """Return the mean square error of the mapped cells, times its weight.

        Args:
            maps: The student's, of V variants, fine to coarse.
            wanted: ``(V, g * g, T)``, the teacher's cells, each number standardised.
        """
        assert self.cells is not None, "asked for by config.cells"
        with torch.autocast(wanted.device.type, enabled=False):
            error: Tensor = (self.cells(maps) - wanted).square().mean()
            return self.config.cell_weight * error

    def _label_loss(self, embeddings: Tensor, labels: Labels, number: int) -> Tensor:
        losses = []
        for scheme, depth in enumerate(self.depths):
            own = labels.scheme == scheme  # (N,)
            if own.any():
                codes = labels.codes[own][:, -depth:]
                losses.append(self._scheme_loss(embeddings[own], codes, scheme, number))
        return torch.stack(losses).mean() if losses else (embeddings * 0).sum()

    def _scheme_loss(self, rows: Tensor, codes: Tensor, scheme: int, number: int) -> Tensor:
        config = self.config
        if "arcface" not in config.loss and self.design_loss is None:
            return self.tree_losses[scheme](rows, codes)
        known = codes[:, -1] != UNKNOWN  # (N,)
        figures, designs = rows[known], codes[known, -1].long()
        if not len(figures):
            by_design = (rows * 0).sum()
        elif self.design_loss is not None:
            by_design = self.design_loss(figures, designs)
        else:
            head = self.arcface[number * len(self.depths) + scheme]
            by_design = head(figures.to(next(head.parameters()).dtype), designs)
        if config.loss != "hierarchical+arcface":
            return by_design
        by_tree = self.tree_losses[scheme](rows, codes)
        return (1 - config.arcface_share) * by_tree + config.arcface_share * by_design

    def _teacher_loss(self, embeddings: Tensor, teacher: Tensor, number: int) -> Tensor:
        config = self.config
        loss = (embeddings * 0).sum()
        if config.regression_weight:
            weights = self.maps[number]
            mapped = weights(embeddings.to(next(weights.parameters()).dtype))  # (N, T)
            loss = loss + config.regression_weight * regression_loss(mapped, teacher)
        if config.similarity_weight:
            loss = loss + config.similarity_weight * similarity_loss(
                embeddings,
                teacher,
                temperature=config.temperature,
                teacher_temperature=config.teacher_temperature,
            )
        return loss


def _tree_loss(config: TrainConfig, depth: int) -> TreeLoss:
    """Return the loss over a tree of so many levels; of a rival over designs, one that is not
    called.
    """
    heat = config.temperature
    if config.loss in ("hierarchical", "hierarchical+arcface"):
        mass = _finest(config.mass, depth, "mass")
        return partial(hierarchical_loss, mass=mass, temperature=heat)
    if config.loss == "hierarchical-scores":
        scores = _finest(config.scores, depth, "scores")
        return partial(hierarchical_scores_loss, scores=scores, temperature=heat)
    if config.loss in ("hmlc", "infonce"):
        return partial(hmlc_loss if config.loss == "hmlc" else infonce_loss, temperature=heat)
    return partial(supcon_loss, level=0 if config.loss == "supcon-class" else -1, temperature=heat)


def _finest(numbers: tuple[float, ...], depth: int, name: str) -> tuple[float, ...]:
    if depth > len(numbers):
        raise ConfigError(
            f"{name} = {list(numbers)}, but the label tree has {depth} levels",
            hint=f"give {name} {depth} numbers, coarse to fine",
        )
    return numbers[-depth:]


def _arc_face(config: TrainConfig, dim: int, designs: int, generator: torch.Generator) -> nn.Module:
    return arc_face(
        dim,
        designs,
        margin=config.arcface_margin,
        scale=config.arcface_scale,
        generator=generator,
    )


def _linear(columns: int, out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear map that starts as torch's own does, but drawn from `generator`."""
    linear = nn.Linear(columns, out, device="meta").to_empty(device="cpu")  # draws nothing yet
    bound = 1 / math.sqrt(columns)
    for parameter in linear.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return linear
