"""The hierarchical loss against loops, and in the limits where it is a known loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from distill.losses import hierarchical_loss, hierarchical_target

MASS = (0.1, 0.2, 0.7)


def rows(count: int, seed: int = 0, dim: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64))


def tree(count: int, seed: int = 0) -> Tensor:
    """Codes of prefixes: items that agree at a level agree at every coarser one."""
    rng = np.random.default_rng(seed)
    leaf = rng.integers(0, 12, count)
    return torch.from_numpy(np.stack([leaf // 6, leaf // 3, leaf], axis=1).astype(np.int32))


def slow_loss(embeddings: Tensor, codes: Tensor, mass: tuple[float, ...], t: float) -> float:
    z, c = embeddings.numpy(), codes.numpy()
    count, levels = c.shape
    losses = []
    for i in range(count):
        deepest = {}
        for j in range(count):
            if j != i:
                depth = 0
                while depth < levels and c[i, depth] == c[j, depth]:
                    depth += 1
                deepest[j] = depth
        share = [mass[level] for level in range(levels) if level + 1 in deepest.values()]
        if sum(share) == 0:
            continue
        bottom = sum(math.exp(z[i] @ z[j] / t) for j in deepest)
        loss = 0.0
        for j, depth in deepest.items():
            if depth:
                target = mass[depth - 1] / sum(share) / list(deepest.values()).count(depth)
                loss -= target * math.log(math.exp(z[i] @ z[j] / t) / bottom)
        losses.append(loss)
    return sum(losses) / len(losses) if losses else 0.0


@given(st.integers(2, 14), st.integers(0, 10_000), st.sampled_from([MASS, (0, 0, 1), (1, 0, 0)]))
@settings(max_examples=40, deadline=None)
def test_the_loss_is_that_of_the_plain_loops(
    count: int, seed: int, mass: tuple[float, ...]
) -> None:
    z, codes = rows(count, seed), tree(count, seed)
    fast = hierarchical_loss(z, codes, mass=mass, temperature=0.3)
    assert float(fast) == pytest.approx(slow_loss(z, codes, mass, 0.3), rel=1e-6, abs=1e-9)


@given(st.integers(2, 14), st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_target_sums_to_one_or_to_nothing(count: int, seed: int) -> None:
    target = hierarchical_target(tree(count, seed), MASS)
    assert (target.diagonal() == 0).all()
    for total in target.sum(1).tolist():
        assert total == pytest.approx(1) or total == 0


def test_all_mass_on_the_finest_level_is_supcon_on_designs() -> None:
    z, codes = rows(12), tree(12)
    logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    log_share = logits.log_softmax(1)
    same = (codes[:, None, -1] == codes[None, :, -1]).fill_diagonal_(False)
    terms = [-log_share[i][same[i]].mean() for i in range(12) if same[i].any()]
    assert torch.allclose(
        hierarchical_loss(z, codes, mass=(0, 0, 1)), torch.stack(terms).mean(), atol=1e-6
    )


def test_one_positive_a_row_is_infonce() -> None:
    z = rows(10)
    codes = (torch.arange(10) // 2)[:, None]
    logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    partner = torch.arange(10) ^ 1
    assert torch.allclose(
        hierarchical_loss(z, codes, mass=(1,)), cross_entropy(logits, partner), atol=1e-6
    )


def test_each_level_keeps_its_mass_however_many_rows_share_it() -> None:
    codes = torch.tensor([[0, 0, 0]] * 2 + [[0, 0, 1 + n] for n in range(9)] + [[0, 1, 10]])
    target = hierarchical_target(codes, MASS)[0]
    assert target[1] == pytest.approx(0.7)
    assert target[2:11].sum() == pytest.approx(0.2)
    assert target[11] == pytest.approx(0.1)


def test_the_order_of_rows_does_not_matter() -> None:
    z, codes = rows(12), tree(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(
        hierarchical_loss(z, codes, mass=MASS), hierarchical_loss(z[order], codes[order], mass=MASS)
    )


def test_the_gradient_is_right() -> None:
    z, codes = rows(6, dim=3).requires_grad_(), tree(6)
    assert torch.autograd.gradcheck(
        lambda x: hierarchical_loss(normalize(x), codes, mass=MASS, temperature=0.5), (z,)
    )


@pytest.mark.parametrize("count", [1, 4])
def test_without_a_positive_the_loss_is_zero_with_a_gradient(count: int) -> None:
    z = rows(count).requires_grad_()
    loss = hierarchical_loss(z, torch.arange(count)[:, None], mass=(1,))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert z.grad is not None and (z.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_at_a_low_temperature(dtype: torch.dtype) -> None:
    z = rows(12).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = hierarchical_loss(z, tree(12), mass=MASS, temperature=0.01)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert z.grad is not None and torch.isfinite(z.grad).all()
