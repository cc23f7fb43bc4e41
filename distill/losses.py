"""Losses over a label tree, and those of a student with a teacher: plain functions.

Arguments that all losses over a tree share:

    embeddings   ``(N, D)`` float, rows of length 1. Half precision and autocast are safe: all is
                 computed in float32 or better.
    codes        ``(N, L)`` int, coarse to fine, from :meth:`Taxonomy.encode`; `UNKNOWN` where a
                 label is not known.
    temperature  Of the similarities; dimensionless, above 0.
    schemes      ``(N,)`` int: rows of different schemes (label trees) have no known relation.
                 None: all rows are of one.

Each returns a scalar: the mean over the rows that have a positive (InfoNCE: over the positive
pairs); zero, with a gradient, if none has. A row is neither positive nor rival of itself. A pair
whose relation is unknown is neither pulled together nor pushed apart: it is no target, and it is
not in the denominator.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, softplus

UNKNOWN = -1
"""The code of a label that is not known."""


def shared_depth(codes: Tensor, schemes: Tensor | None = None) -> Tensor:
    """Return how many leading levels each pair shares: ``(N, N)`` int64, 0 to L, or `UNKNOWN`.

    Equal known codes at the finest level are the same design: L. Otherwise the levels are walked
    from coarse to fine while both codes are known and equal; different codes end the walk, and a
    code that is not known leaves the depth unknown, as different schemes do. The diagonal has no
    meaning.
    """
    depth = torch.zeros(len(codes), len(codes), dtype=torch.int64, device=codes.device)  # (N, N)
    agree = torch.ones_like(depth, dtype=torch.bool)  # (N, N) at all levels so far
    unknown = torch.zeros_like(agree)  # (N, N)
    for level in range(codes.shape[1]):
        same, both = _compare(codes[:, level])
        unknown |= agree & ~both
        agree &= same
        depth += agree
    same_design, _ = _compare(codes[:, -1])
    depth = depth.masked_fill(unknown, UNKNOWN).masked_fill(same_design, codes.shape[1])
    if schemes is None:
        return depth
    return depth.masked_fill(schemes[:, None] != schemes[None, :], UNKNOWN)


def hierarchical_loss(
    embeddings: Tensor,
    codes: Tensor,
    *,
    mass: Sequence[float],
    temperature: float = 0.1,
    schemes: Tensor | None = None,
) -> Tensor:
    r"""Cross-entropy between graded targets over a label tree and the batch's similarities.

    The target of row i gives each level its share of `mass`, split evenly over the rows whose
    deepest level shared with i is that level, and renormalised over the levels that the row has.
    With all mass on the finest level this is SupCon (out) on designs; with one positive a row,
    InfoNCE.

    Args:
        embeddings, codes, temperature, schemes: See the top of this module.
        mass: ``L`` non-negative numbers, coarse to fine: the share of the target at each level.

    Returns:
        A scalar; zero, with a gradient, if no two rows share a code.

    Source:
        Kavimandan et al., arXiv:2506.13496 (the idea); Tian et al., arXiv:2306.00984
        (multi-positive form). Mass fixed per level is ours: with fixed scores per pair the share
        of the design level would shrink as the batch grows.
    """
    assert codes.shape == (len(embeddings), len(mass)), "one code a row and a level"
    depth = shared_depth(codes, schemes)  # (N, N)
    return _cross_entropy(embeddings, _mass_target(depth, mass), depth >= 0, temperature)


def hierarchical_target(
    codes: Tensor, mass: Sequence[float], schemes: Tensor | None = None
) -> Tensor:
    """Return the target of each row: ``(N, N)`` float32, rows that sum to 1, or to 0 without a
    positive; zero on the diagonal. Arguments as for `hierarchical_loss`.
    """
    return _mass_target(shared_depth(codes, schemes), mass)


def hierarchical_scores_loss(
    embeddings: Tensor,
    codes: Tensor,
    *,
    scores: Sequence[float],
    temperature: float = 0.1,
    schemes: Tensor | None = None,
) -> Tensor:
    """Cross-entropy as `hierarchical_loss`, with a fixed score for every pair.

    The target of row i is proportional to `scores` of the deepest level that a pair shares. With
    scores on the finest level alone this is SupCon (out) on designs; with equal scores, on classes.

    Args:
        embeddings, codes, temperature, schemes: See the top of this module.
        scores: ``L`` non-negative numbers, coarse to fine.

    Source:
        Kavimandan et al., arXiv:2506.13496: scores by the deepest shared level. That they are
        normalised over the row is read from its kinship with Tian et al., arXiv:2306.00984.
    """
    assert codes.shape == (len(embeddings), len(scores)), "one code a row and a level"
    depth = shared_depth(codes, schemes)  # (N, N)
    score = torch.tensor([0.0, *scores], device=codes.device)[depth.clamp(min=0)]  # (N, N)
    return _cross_entropy(embeddings, _to_shares(score), depth >= 0, temperature)


def supcon_loss(
    embeddings: Tensor,
    codes: Tensor,
    *,
    level: int = -1,
    temperature: float = 0.1,
    schemes: Tensor | None = None,
) -> Tensor:
    """SupCon, its "out" form, whose positives share one level of the tree.

    Args:
        embeddings, codes, temperature, schemes: See the top of this module.
        level: Column of `codes`: 0 the coarsest, -1 the finest. Known codes of this level settle
            a pair, whatever is unknown above them.

    Source:
        Khosla et al., arXiv:2004.11362, eq. 2.
    """
    positive, known = _relation(codes, level, schemes)  # (N, N) twice
    return _cross_entropy(embeddings, _to_shares(positive.float()), known, temperature)


def infonce_loss(
    embeddings: Tensor, codes: Tensor, *, temperature: float = 0.1, schemes: Tensor | None = None
) -> Tensor:
    """InfoNCE, also NT-Xent: each pair of one design against its row's figures of other designs.

    Other positives of the row are not in a pair's denominator. The mean is over the positive pairs.
    The value is that of pytorch-metric-learning's NTXentLoss, whose memory and time grow with the
    positive times the negative pairs of the batch; here they grow with all pairs.

    Args:
        embeddings, codes, temperature, schemes: See the top of this module.
            Known codes of the finest level settle a pair.

    Source:
        van den Oord et al., arXiv:1807.03748; Chen et al., arXiv:2002.05709.
    """
    positive, known = _relation(codes, -1, schemes)  # (N, N) twice
    similarity = _similarity(embeddings, temperature)  # (N, N)
    rivals = _allow(similarity, known & ~positive).logsumexp(1, keepdim=True)  # (N, 1)
    losses = softplus(rivals - similarity)  # (N, N)
    return (losses * positive).sum() / positive.sum().clamp(min=1)


def hmlc_loss(
    embeddings: Tensor, codes: Tensor, *, temperature: float = 0.1, schemes: Tensor | None = None
) -> Tensor:
    """HiMulConE ("hmce"): SupCon at every level, finest first, over ever fewer representatives.

    As in the paper's code: after a level, one row of each of its groups goes on to the next coarser
    one; level l (1 is the finest) weighs 2^(1/l); its loss is at least the greatest loss of the
    finer levels; the sum is divided by the number of levels.

    Ours: a row is one figure, where the code has two augmented views of each image, which remain
    positives of each other at every level. So here a row may be without positive and is left out of
    its level's mean, and a level without any positive adds nothing. The representative is the first
    row of a group in the batch (the code sorts by label between levels), so the order of the rows
    matters. The code's labels have a further column, of the image, and it divides by that too.

    Args:
        embeddings, codes, temperature, schemes: See the top of this module.
            A row whose code is unknown at a level stands for itself there.

    Source:
        Zhang et al., CVPR 2022, arXiv:2204.13207; salesforce/hierarchicalContrastiveLearning,
        losses/losses.py, loss_type "hmce".
    """
    rows, levels = _float32_or_better(embeddings), codes.shape[1]
    kept = torch.ones(len(codes), dtype=torch.bool, device=codes.device)  # (N,)
    total = worst = (rows * 0).sum()
    for number, level in enumerate(reversed(range(levels)), start=1):
        positive, known = _relation(codes, level, schemes)  # (N, N) twice
        both = kept[:, None] & kept[None, :]  # (N, N)
        positive, known = positive & both, known & both
        loss = _cross_entropy(rows, _to_shares(positive.float()), known, temperature)
        worst = torch.maximum(worst, loss)
        total = total + 2 ** (1 / number) * worst * positive.any()
        kept = kept & ~positive.tril(-1).any(1)  # all but the first of each group
    return total / levels


def regression_loss(mapped: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between the student's mapped embeddings and the teacher's.

    Args:
        mapped: ``(N, T)`` float, of any length.
        teacher: ``(N, T)`` float, of any length.

    Source:
        Budnik and Avrithis, arXiv:2006.16331 ("Reg").
    """
    with torch.autocast(mapped.device.type, enabled=False):
        rows = _float32_or_better(mapped)
        return (1 - cosine_similarity(rows, teacher.to(rows.dtype), dim=1)).sum() / max(
            1, len(rows)
        )


def similarity_loss(
    embeddings: Tensor, teacher: Tensor, *, temperature: float, teacher_temperature: float
) -> Tensor:
    """Return the mean KL divergence from the teacher's similarities of the batch to the student's.

    Each row's similarities to all others become shares by a softmax, at either temperature. Both
    embeddings may differ in their number of columns.

    Args:
        embeddings: ``(N, D)`` float, rows of length 1.
        teacher: ``(N, T)`` float, rows of length 1.
        temperature: Of the student, above 0.
        teacher_temperature: Above 0.

    Returns:
        A scalar; zero, with a gradient, for a batch of one.

    Source:
        Passalis and Tefas, ECCV 2018 (PKT); Fang et al., arXiv:2101.04731 (SEED).
    """
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)  # (N, N)
    wanted = _log_shares(teacher.to(embeddings.device), ~itself, teacher_temperature)  # (N, N)
    given = _log_shares(embeddings, ~itself, temperature)  # (N, N)
    gap = wanted.exp() * (wanted - given)  # (N, N)
    return gap.masked_fill(itself, 0).sum() / max(1, len(embeddings))


def _compare(column: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs have equal known codes, and of which pairs both are known: (N, N) each."""
    known = column >= 0  # (N,)
    both = known[:, None] & known[None, :]  # (N, N)
    return (column[:, None] == column[None, :]) & both, both


def _relation(codes: Tensor, level: int, schemes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which pairs share a level, and of which pairs that is known: (N, N) bool each, False
    on the diagonal.
    """
    depth = shared_depth(codes, schemes)  # (N, N)
    same, both = _compare(codes[:, level])  # (N, N) twice
    if schemes is not None:
        one_scheme = schemes[:, None] == schemes[None, :]  # (N, N)
        same, both = same & one_scheme, both & one_scheme
    positive = same | (depth > level % codes.shape[1])
    known = both | (depth >= 0)
    return positive.fill_diagonal_(False), known.fill_diagonal_(False)


def _mass_target(depth: Tensor, mass: Sequence[float]) -> Tensor:
    depth = depth.clone().fill_diagonal_(UNKNOWN)
    target = torch.zeros(depth.shape, device=depth.device)  # (N, N)
    for level, share in enumerate(mass, start=1):
        deepest = (depth == level).float()  # (N, N)
        target += deepest * (share / deepest.sum(1, keepdim=True).clamp(min=1))
    return _to_shares(target)


def _to_shares(target: Tensor) -> Tensor:
    """Make each row sum to 1, or to 0 where nothing is off the diagonal: (N, N)."""
    target = target.clone().fill_diagonal_(0)
    return target / target.sum(1, keepdim=True).clamp(min=1e-30)


def _cross_entropy(embeddings: Tensor, target: Tensor, known: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of the rows that have a target. `target` is zero and `known`
    may be anything on the diagonal: (N, N) each.
    """
    others = known.clone().fill_diagonal_(False)  # (N, N)
    log_share = _log_shares(embeddings, others, temperature)  # (N, N)
    losses = -(target.to(log_share.dtype) * log_share).sum(1)  # (N,)
    has_positive = target.sum(1) > 0  # (N,)
    return (losses * has_positive).sum() / has_positive.sum().clamp(min=1)


def _log_shares(embeddings: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Return each row's log-softmax over the allowed pairs: (N, N)."""
    return _allow(_similarity(embeddings, temperature), allowed).log_softmax(1)


def _similarity(embeddings: Tensor, temperature: float) -> Tensor:
    rows = _float32_or_better(embeddings)
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ rows.T / temperature  # (N, N)


def _allow(similarity: Tensor, allowed: Tensor) -> Tensor:
    """Leave only the allowed pairs in a softmax over each row: (N, N).

    The others get the lowest finite number, not minus infinity: their share is exactly 0 as well,
    but a target of 0 times its logarithm is 0, and a row that allows nothing stays a number.
    """
    return similarity.masked_fill(~allowed, torch.finfo(similarity.dtype).min)


def _float32_or_better(embeddings: Tensor) -> Tensor:
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()
