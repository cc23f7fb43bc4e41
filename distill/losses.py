"""Losses over a label tree: plain functions of embeddings and codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hierarchical_loss(
    embeddings: Tensor, codes: Tensor, *, mass: Sequence[float], temperature: float = 0.1
) -> Tensor:
    r"""Cross-entropy between graded targets over a label tree and the batch's similarities.

    The target of row i gives each level its share of `mass`, split evenly over the rows whose
    deepest level shared with i is that level, and renormalised over the levels that the row has.
    Rows without a positive are left out of the mean; i itself is neither target nor rival. With
    all mass on the finest level this is SupCon (out) on designs; with one positive a row, InfoNCE.

    Args:
        embeddings: ``(N, D)`` float, rows of length 1. Computed in float32 or better.
        codes: ``(N, L)`` int, coarse to fine, from :meth:`Taxonomy.encode`.
        mass: ``L`` non-negative numbers, coarse to fine: the share of the target at each level.
        temperature: Dimensionless, above 0.

    Returns:
        A scalar; zero, with a gradient, if no two rows share a code.

    Source:
        Kavimandan et al., arXiv:2506.13496 (the idea); Tian et al., arXiv:2306.00984
        (multi-positive form). Mass fixed per level is ours: with fixed scores per pair the share
        of the design level would shrink as the batch grows.
    """
    assert codes.shape == (len(embeddings), len(mass)), "one code a row and a level"
    rows = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    target = hierarchical_target(codes, mass).to(rows.dtype)  # (N, N)
    has_positive = target.sum(1) > 0  # (N,)
    if not has_positive.any():
        return (rows * 0).sum()
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)  # (N, N)
    with torch.autocast(rows.device.type, enabled=False):
        similarity = rows @ rows.T / temperature  # (N, N)
    log_share = similarity.masked_fill(itself, -torch.inf).log_softmax(1)  # (N, N)
    log_share = log_share.masked_fill(itself, 0)  # 0 times minus infinity is no number
    return -(target * log_share).sum(1)[has_positive].mean()


def hierarchical_target(codes: Tensor, mass: Sequence[float]) -> Tensor:
    """Return the target of each row: ``(N, N)`` float32, rows that sum to 1, or to 0 without a
    positive; zero on the diagonal. Arguments as for `hierarchical_loss`.
    """
    shared = codes[:, None, :] == codes[None, :, :]  # (N, N, L)
    depth = shared.long().cumprod(-1).sum(-1).fill_diagonal_(0)  # (N, N) 0..L
    target = torch.zeros(depth.shape, device=codes.device)  # (N, N)
    for level, share in enumerate(mass, start=1):
        deepest = (depth == level).float()  # (N, N)
        target += deepest * share / deepest.sum(1, keepdim=True).clamp(min=1)
    return target / target.sum(1, keepdim=True).clamp(min=1e-30)
