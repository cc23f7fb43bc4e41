"""The objective: the loss that a config names, over schemes, prefixes and a teacher."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from distill.config import TrainConfig
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
from distill.objective import LOSSES, Labels, Objective
from edge_retrieval.errors import ConfigError, MissingExtraError

DIM = 8
DESIGNS = 6
OURS = ("hierarchical", "hierarchical-scores", "infonce", "supcon", "supcon-class", "hmlc")
THEIRS = tuple(name for name in LOSSES if name not in OURS)

every_loss = pytest.mark.parametrize("name", LOSSES)


def rows(count: int, seed: int = 0, dim: int = DIM) -> Tensor:
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)))


def batch(count: int = 12, seed: int = 0, scheme: int = 0) -> Labels:
    design = torch.from_numpy(np.random.default_rng(seed).integers(0, DESIGNS, count))
    codes = torch.stack([design // 4, design // 2, design], dim=1)
    return Labels(codes, torch.full((count,), scheme))


def objective(
    depths: tuple[int, ...] = (3,), teacher_dim: int | None = None, **settings: Any
) -> Objective:
    config = TrainConfig(**{"dim": DIM, "teacher": "", **settings})
    count = [DESIGNS] * len(depths)
    return Objective(config, depths=depths, designs=count, teacher_dim=teacher_dim)


def needs_rivals(name: str) -> None:
    if name in THEIRS:
        pytest.importorskip("pytorch_metric_learning")


@pytest.mark.parametrize(
    "name, loss",
    [
        ("hierarchical", partial(hierarchical_loss, mass=(0.1, 0.2, 0.7))),
        ("hierarchical-scores", partial(hierarchical_scores_loss, scores=(0.25, 0.5, 1))),
        ("infonce", infonce_loss),
        ("supcon", supcon_loss),
        ("supcon-class", partial(supcon_loss, level=0)),
        ("hmlc", hmlc_loss),
    ],
)
def test_a_name_means_its_loss_at_the_configs_temperature(
    name: str, loss: Callable[..., Tensor]
) -> None:
    z, labels = rows(12), batch()
    found = objective(loss=name, temperature=0.2)(z, labels)
    assert found.item() == pytest.approx(loss(z, labels.codes, temperature=0.2).item())
    assert found.item() != pytest.approx(loss(z, labels.codes, temperature=0.1).item())


def test_multi_similarity_is_that_of_the_plain_loops() -> None:
    """Wang et al. 2019: a positive is kept if less similar than the nearest negative plus 0.1; a
    negative, if more similar than the farthest positive less 0.1.
    """
    needs_rivals("multi-similarity")
    z, labels = rows(12), batch()
    s, design = (z @ z.T).tolist(), labels.codes[:, -1].tolist()
    total = 0.0
    for i in range(12):
        positives = [s[i][j] for j in range(12) if j != i and design[j] == design[i]]
        negatives = [s[i][j] for j in range(12) if design[j] != design[i]]
        near = [p for p in positives if p - 0.1 < max(negatives)]
        far = [n for n in negatives if positives and n + 0.1 > min(positives)]
        total += math.log(1 + sum(math.exp(-2 * (p - 0.5)) for p in near)) / 2
        total += math.log(1 + sum(math.exp(50 * (n - 0.5)) for n in far)) / 50
    found = objective(loss="multi-similarity")(z, labels)
    assert found.item() == pytest.approx(total / 12, rel=1e-5)


def slow_arcface(z: Tensor, design: Tensor, weights: Tensor, margin: float, scale: float) -> float:
    cosines, total = (z @ normalize(weights, dim=0)).tolist(), 0.0
    for i, own in enumerate(design.tolist()):
        logits = [scale * cosine for cosine in cosines[i]]
        logits[own] = scale * math.cos(math.acos(cosines[i][own]) + margin)
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[own]
    return total / len(z)


def test_arcface_is_that_of_the_plain_loops_with_its_margin_in_radians() -> None:
    needs_rivals("arcface")
    z, labels = rows(12), batch()
    made = objective(loss="arcface", arcface_margin=0.3, arcface_scale=10)
    [weights] = made.parameters()
    assert weights.shape == (DIM, DESIGNS)
    slow = slow_arcface(z, labels.codes[:, -1], weights.detach(), 0.3, 10)
    assert made(z, labels).item() == pytest.approx(slow, rel=1e-5)


def test_hierarchical_and_arcface_are_mixed_by_the_share() -> None:
    needs_rivals("arcface")
    z, labels = rows(12), batch()
    found = [
        objective(loss="hierarchical+arcface", arcface_share=share)(z, labels).item()
        for share in (0, 0.25, 1)
    ]
    assert found[0] == pytest.approx(objective(loss="hierarchical")(z, labels).item())
    assert found[2] == pytest.approx(objective(loss="arcface")(z, labels).item())
    assert found[1] == pytest.approx(0.75 * found[0] + 0.25 * found[2])


def test_arcface_on_a_designs_own_vector_has_a_gradient_that_is_a_number() -> None:
    needs_rivals("arcface")
    made = objective(loss="arcface")
    [weights] = made.parameters()
    z = normalize(weights.detach().T).requires_grad_()
    design = torch.arange(DESIGNS)
    labels = Labels(design[:, None].expand(-1, 3), torch.zeros_like(design))
    gradients = torch.autograd.grad(made(z, labels), [z, weights])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@every_loss
def test_figures_of_unknown_design_and_class_change_nothing(name: str) -> None:
    needs_rivals(name)
    made, z, labels = objective(loss=name), rows(12), batch()
    codes = torch.cat([labels.codes[:9], torch.full((3, 3), UNKNOWN)])
    some = made(z[:9], Labels(codes[:9], labels.scheme[:9]))
    assert made(z, Labels(codes, labels.scheme)).item() == pytest.approx(some.item())


@every_loss
def test_two_schemes_are_the_mean_of_each_and_a_flat_one_takes_the_finest_numbers(
    name: str,
) -> None:
    needs_rivals(name)
    made, first, second = objective(depths=(3, 1), loss=name), batch(12), batch(8, 1, scheme=1)
    second.codes[:, :2] = UNKNOWN  # it has no levels above the design
    z = rows(20)
    joined = Labels(
        torch.cat([first.codes, second.codes]), torch.cat([first.scheme, second.scheme])
    )
    order = (
        torch.randperm(20, generator=torch.Generator().manual_seed(0)) if name != "hmlc" else ...
    )
    found = made(z[order], Labels(joined.codes[order], joined.scheme[order]))
    expected = (made(z[:12], first) + made(z[12:], second)) / 2
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    if name == "hierarchical":
        flat = hierarchical_loss(z[12:], second.codes[:, -1:], mass=(1,))
        assert made(z[12:], second).item() == pytest.approx(flat.item())


@pytest.mark.parametrize(
    "name, setting",
    [("hierarchical", "mass"), ("hierarchical+arcface", "mass"), ("hierarchical-scores", "scores")],
)
def test_a_tree_deeper_than_the_numbers_for_its_levels_is_an_error(name: str, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} = .* has 4 levels") as error:
        objective(depths=(3, 4), loss=name)
    assert f"give {setting} 4 numbers" in error.value.hint
    objective(depths=(3, 4), loss="supcon")


@every_loss
def test_prefixes_are_the_mean_of_the_loss_over_each_made_of_length_one(name: str) -> None:
    needs_rivals(name)
    z, labels = rows(12), batch()
    made = objective(loss=name, prefixes=(4, DIM))
    single = [objective(loss=name, dim=dim) for dim in (4, DIM)]
    for whole, own in zip(
        made.parameters(), [p for s in single for p in s.parameters()], strict=True
    ):
        own.data = whole.data  # one head of weights a prefix
    expected = [single[0](normalize(z[:, :4]), labels), single[1](z, labels)]
    assert made(z, labels).item() == pytest.approx((expected[0] + expected[1]).item() / 2, rel=1e-5)


def test_a_teacher_adds_both_its_losses_with_their_weights() -> None:
    z, labels, teacher = rows(12), batch(), rows(12, seed=1, dim=5)
    made = objective(
        teacher_dim=5, teacher="t", label_weight=0.5, regression_weight=2, similarity_weight=3,
        temperature=0.2, teacher_temperature=0.3,
    )  # fmt: skip
    label = hierarchical_loss(z, labels.codes, mass=(0.1, 0.2, 0.7), temperature=0.2)
    near = regression_loss(made.maps[0](z), teacher)
    alike = similarity_loss(z, teacher, temperature=0.2, teacher_temperature=0.3)
    expected = 0.5 * label + 2 * near + 3 * alike
    assert made(z, labels, teacher).item() == pytest.approx(expected.item())


def test_a_teacher_teaches_every_prefix_and_itself_learns_nothing() -> None:
    z, labels = rows(12).requires_grad_(), batch()
    teacher = rows(12, seed=1, dim=5).requires_grad_()
    made = objective(
        teacher_dim=5, teacher="t", label_weight=0, similarity_weight=0, prefixes=(4, DIM)
    )
    loss = made(z, labels, teacher)
    parts = [made.maps[0](normalize(z[:, :4])), made.maps[1](z)]
    expected = sum(regression_loss(part, teacher).item() for part in parts) / 2
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert teacher.grad is None
    assert z.grad is not None and (z.grad != 0).any()
    assert all(p.grad is not None and (p.grad != 0).any() for p in made.parameters())


def test_every_weight_that_an_objective_has_is_learned() -> None:
    for weight in ("regression_weight", "similarity_weight"):
        made = objective(teacher_dim=5, teacher="t", **{weight: 0})
        z = rows(12).requires_grad_()
        made(z, batch(), rows(12, seed=1, dim=5)).backward()
        assert z.grad is not None
        assert all(parameter.grad is not None for parameter in made.parameters())


def test_without_a_weight_on_labels_only_the_teacher_counts() -> None:
    """Any loss, any depth: nothing of it is made, so nothing of it is needed."""
    made = objective(depths=(9,), teacher_dim=5, teacher="t", loss="arcface", label_weight=0)
    assert {name.split(".")[0] for name, _ in made.named_parameters()} == {"maps"}
    objective(depths=(9,), teacher_dim=5, teacher="t", label_weight=0)
    unlabelled = Labels(torch.full((12, 9), UNKNOWN), torch.zeros(12, dtype=torch.int64))
    assert made(rows(12), unlabelled, rows(12, seed=1, dim=5)) > 0


def test_equal_settings_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    needs_rivals("arcface")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    build = partial(objective, loss="arcface", teacher="t", teacher_dim=5, prefixes=(4, DIM))
    first, again, other = build(), build(), build(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_the_state_of_one_objective_loads_into_another() -> None:
    needs_rivals("arcface")
    z, labels, teacher = rows(12), batch(), rows(12, seed=1, dim=5)
    build = partial(objective, loss="hierarchical+arcface", teacher="t", teacher_dim=5)
    first, other = build(seed=1), build(seed=2)
    other.load_state_dict(first.state_dict())
    assert first(z, labels, teacher).item() == other(z, labels, teacher).item()


@pytest.mark.parametrize("name", THEIRS)
def test_a_rival_without_its_package_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(MissingExtraError, match="'train'") as error:
        objective(loss=name)
    assert "edge-retrieval[train]" in error.value.hint


@pytest.mark.parametrize("name", OURS)
def test_our_losses_need_no_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    assert objective(loss=name)(rows(12), batch()) > 0


@every_loss
@pytest.mark.parametrize("count", [0, 1, 4])
def test_with_nothing_to_learn_the_loss_is_zero_with_a_gradient(name: str, count: int) -> None:
    needs_rivals(name)
    z = rows(count).requires_grad_()
    made = objective(loss=name, prefixes=(4, DIM))
    codes = torch.full((count, 3), UNKNOWN)
    loss = made(z, Labels(codes, torch.zeros(count, dtype=torch.int64)))
    [gradient] = torch.autograd.grad(loss, z)
    assert loss.item() == 0 and (gradient == 0).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_with_identical_figures_stays_close_to_float32(
    name: str, dtype: torch.dtype
) -> None:
    needs_rivals(name)
    made = objective(loss=name, temperature=0.01, prefixes=(4, DIM))
    labels, half = batch(), rows(12).to(dtype)
    half[3] = half[4] = half[0]
    half.requires_grad_()
    full = half.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = made(half, labels)
    expected = made(full, labels)
    [found], [gradient] = torch.autograd.grad(loss, half), torch.autograd.grad(expected, full)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.isfinite(found).all()
    assert torch.allclose(found.float(), gradient, rtol=0.01, atol=1e-3)


@every_loss
@pytest.mark.parametrize(
    "design", [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 4, 5], [0, 1, 2, 3]],
    ids=["one design", "one class", "a class with one figure", "no pair"],
)  # fmt: skip
def test_a_poor_batch_gives_numbers(name: str, design: list[int]) -> None:
    needs_rivals(name)
    made, z, own = objective(loss=name), rows(4).requires_grad_(), torch.tensor(design)
    labels = Labels(torch.stack([own // 4, own // 2, own], dim=1), torch.zeros_like(own))
    loss = made(z, labels)
    [gradient] = torch.autograd.grad(loss, z)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "hmlc"])
@given(st.integers(2, 13), st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_the_order_of_figures_does_not_matter(name: str, count: int, seed: int) -> None:
    needs_rivals(name)
    made, z, labels = objective(loss=name, prefixes=(4, DIM)), rows(count, seed), batch(count, seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    before = made(z, labels).item()
    after = made(z[order], Labels(labels.codes[order], labels.scheme[order])).item()
    assert before == pytest.approx(after, rel=1e-4, abs=1e-6)


@every_loss
def test_every_loss_can_be_learned(name: str) -> None:
    """Rows that start at random end nearer to those of their design than to any other."""
    needs_rivals(name)
    made = objective(loss=name)
    raw = torch.nn.Parameter(rows(12, seed=3))
    design = torch.arange(12) // 2
    labels = Labels(torch.stack([design // 4, design // 2, design], 1), torch.zeros_like(design))
    optimizer = torch.optim.AdamW([raw, *made.parameters()], lr=0.1)
    for _ in range(25):
        optimizer.zero_grad()
        made(normalize(raw), labels).backward()
        optimizer.step()
    z = normalize(raw.detach())
    level = 0 if name == "supcon-class" else 2
    nearest = (z @ z.T).fill_diagonal_(-1).argmax(1)
    assert torch.equal(labels.codes[nearest, level], labels.codes[:, level])
