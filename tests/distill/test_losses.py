"""The losses over a label tree against loops, and in the limits where they are known losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from distill.losses import (
    UNKNOWN,
    hierarchical_loss,
    hierarchical_scores_loss,
    hierarchical_target,
    hmlc_loss,
    infonce_loss,
    regression_loss,
    shared_depth,
    similarity_loss,
    supcon_loss,
)

MASS = (0.1, 0.2, 0.7)
SCORES = (0.25, 0.5, 1.0)
HEAT = 0.3

LOSSES: dict[str, Callable[..., Tensor]] = {
    "hierarchical": partial(hierarchical_loss, mass=MASS),
    "hierarchical-scores": partial(hierarchical_scores_loss, scores=SCORES),
    "supcon": supcon_loss,
    "supcon-class": partial(supcon_loss, level=0),
    "infonce": infonce_loss,
    "hmlc": hmlc_loss,
}

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
batches = given(st.integers(2, 13), st.integers(1, 5), st.integers(0, 10_000), st.booleans())


def rows(count: int, seed: int = 0, dim: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64))


def tree(count: int, seed: int = 0, levels: int = 3) -> Tensor:
    """Codes of prefixes: items that agree at a level agree at every coarser one."""
    leaf = np.random.default_rng(seed).integers(0, 12, count)
    columns = [leaf // 2 ** (levels - 1 - level) for level in range(levels)]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.int32))


def labels(count: int, levels: int, seed: int, partly: bool) -> tuple[Tensor, Tensor]:
    """Codes and schemes; if `partly`, of two schemes, and a fifth of the codes is unknown."""
    codes, rng = tree(count, seed, levels), np.random.default_rng(seed + 1)
    if not partly:
        return codes, torch.zeros(count, dtype=torch.int64)
    codes[torch.from_numpy(rng.random(codes.shape) < 0.2)] = UNKNOWN
    return codes, torch.from_numpy(rng.integers(0, 2, count))


def slow_depth(a: Sequence[int], b: Sequence[int], one_scheme: bool) -> int | None:
    if not one_scheme:
        return None
    if a[-1] == b[-1] != UNKNOWN:
        return len(a)
    for depth in range(len(a)):
        if UNKNOWN in (a[depth], b[depth]):
            return None
        if a[depth] != b[depth]:
            return depth
    raise AssertionError("equal finest codes were handled above")


def slow_relation(a: Sequence[int], b: Sequence[int], level: int, one_scheme: bool) -> bool | None:
    depth = slow_depth(a, b, one_scheme)
    if depth is not None:
        return depth > level
    if one_scheme and UNKNOWN not in (a[level], b[level]):
        return a[level] == b[level]
    return None


def slow_mean(
    z: Tensor, weight: Callable[[int, int], float | None], t: float, kept: Sequence[int]
) -> float:
    """Mean over rows i of -sum_j p_ij log q_ij; a weight of None is a pair that is left out."""
    losses = []
    for i in kept:
        pairs = {j: w for j in kept if j != i and (w := weight(i, j)) is not None}
        if sum(pairs.values()) > 0:
            bottom = sum(math.exp(float(z[i] @ z[j]) / t) for j in pairs)
            log_q = {j: math.log(math.exp(float(z[i] @ z[j]) / t) / bottom) for j in pairs}
            losses.append(-sum(w / sum(pairs.values()) * log_q[j] for j, w in pairs.items()))
    return sum(losses) / len(losses) if losses else 0.0


def slow_mass(z: Tensor, codes: Tensor, schemes: Tensor, mass: Sequence[float], t: float) -> float:
    c, s, everyone = codes.tolist(), schemes.tolist(), range(len(codes))

    def weight(i: int, j: int) -> float | None:
        depth = slow_depth(c[i], c[j], s[i] == s[j])
        if not depth:
            return depth
        equals = [k for k in everyone if k != i and slow_depth(c[i], c[k], s[i] == s[k]) == depth]
        return mass[depth - 1] / len(equals)

    return slow_mean(z, weight, t, everyone)


def slow_scores(
    z: Tensor, codes: Tensor, schemes: Tensor, scores: Sequence[float], t: float
) -> float:
    c, s = codes.tolist(), schemes.tolist()

    def weight(i: int, j: int) -> float | None:
        depth = slow_depth(c[i], c[j], s[i] == s[j])
        return depth if not depth else scores[depth - 1]

    return slow_mean(z, weight, t, range(len(c)))


def slow_supcon(z: Tensor, codes: Tensor, schemes: Tensor, level: int, t: float) -> float:
    c, s = codes.tolist(), schemes.tolist()
    return slow_mean(
        z, lambda i, j: slow_relation(c[i], c[j], level, s[i] == s[j]), t, range(len(c))
    )


def slow_infonce(z: Tensor, codes: Tensor, schemes: Tensor, t: float) -> float:
    c, s, everyone, losses = codes.tolist(), schemes.tolist(), range(len(codes)), []
    for i in everyone:
        same = {
            j: slow_relation(c[i], c[j], len(c[i]) - 1, s[i] == s[j]) for j in everyone if j != i
        }
        rivals = sum(math.exp(float(z[i] @ z[j]) / t) for j in same if same[j] is False)
        tops = [math.exp(float(z[i] @ z[j]) / t) for j in same if same[j]]
        losses += [-math.log(top / (top + rivals)) for top in tops]
    return sum(losses) / len(losses) if losses else 0.0


def slow_hmlc(z: Tensor, codes: Tensor, schemes: Tensor, t: float) -> float:
    c, s, levels = codes.tolist(), schemes.tolist(), codes.shape[1]
    kept, total, worst = list(range(len(c))), 0.0, 0.0

    for number, level in enumerate(range(levels - 1, -1, -1), start=1):

        def same(i: int, j: int, level: int = level) -> bool | None:
            return slow_relation(c[i], c[j], level, s[i] == s[j])

        if any(same(i, j) for i in kept for j in kept if i != j):
            worst = max(worst, slow_mean(z, same, t, kept))
            total += 2 ** (1 / number) * worst
        kept = [j for j in kept if not any(i < j and same(i, j) for i in kept)]
    return total / levels


def numbers(levels: int, seed: int) -> list[float]:
    """Weights of the levels, some of them 0, the finest never."""
    drawn = np.random.default_rng(seed).integers(0, 4, levels)
    return [*drawn[:-1].tolist(), 1 + int(drawn[-1])]


@batches
@settings(max_examples=25, deadline=None)
def test_mass_by_level_is_that_of_the_plain_loops(
    count: int, levels: int, seed: int, partly: bool
) -> None:
    z, (codes, schemes) = rows(count, seed), labels(count, levels, seed, partly)
    mass = numbers(levels, seed)
    fast = hierarchical_loss(z, codes, mass=mass, temperature=HEAT, schemes=schemes)
    slow = slow_mass(z, codes, schemes, mass, HEAT)
    assert float(fast) == pytest.approx(slow, rel=1e-6, abs=1e-9)


@batches
@settings(max_examples=25, deadline=None)
def test_scores_by_depth_are_those_of_the_plain_loops(
    count: int, levels: int, seed: int, partly: bool
) -> None:
    z, (codes, schemes) = rows(count, seed), labels(count, levels, seed, partly)
    scores = numbers(levels, seed)
    fast = hierarchical_scores_loss(z, codes, scores=scores, temperature=HEAT, schemes=schemes)
    slow = slow_scores(z, codes, schemes, scores, HEAT)
    assert float(fast) == pytest.approx(slow, rel=1e-6, abs=1e-9)


@batches
@settings(max_examples=25, deadline=None)
def test_supcon_of_any_level_is_that_of_the_plain_loops(
    count: int, levels: int, seed: int, partly: bool
) -> None:
    z, (codes, schemes) = rows(count, seed), labels(count, levels, seed, partly)
    level = seed % levels
    for given_level in (level, level - levels):
        fast = supcon_loss(z, codes, level=given_level, temperature=HEAT, schemes=schemes)
        slow = slow_supcon(z, codes, schemes, level, HEAT)
        assert float(fast) == pytest.approx(slow, rel=1e-6, abs=1e-9)


@batches
@settings(max_examples=25, deadline=None)
def test_infonce_is_that_of_the_plain_loops(
    count: int, levels: int, seed: int, partly: bool
) -> None:
    z, (codes, schemes) = rows(count, seed), labels(count, levels, seed, partly)
    fast = infonce_loss(z, codes, temperature=HEAT, schemes=schemes)
    assert float(fast) == pytest.approx(slow_infonce(z, codes, schemes, HEAT), rel=1e-6, abs=1e-9)


@batches
@settings(max_examples=25, deadline=None)
def test_hmlc_is_that_of_the_plain_loops(count: int, levels: int, seed: int, partly: bool) -> None:
    z, (codes, schemes) = rows(count, seed), labels(count, levels, seed, partly)
    fast = hmlc_loss(z, codes, temperature=HEAT, schemes=schemes)
    assert float(fast) == pytest.approx(slow_hmlc(z, codes, schemes, HEAT), rel=1e-6, abs=1e-9)


def test_hmlc_weighs_and_bounds_its_levels_by_hand() -> None:
    """Two designs of two figures in one class: at the class level one figure of each is left, its
    only rival is its positive, so its loss of 0 is raised to that of the design level.
    """
    z = rows(4)
    codes = torch.tensor([[0, 0], [0, 0], [0, 1], [0, 1]])
    design = float(supcon_loss(z, codes))
    assert float(hmlc_loss(z, codes)) == pytest.approx((2 * design + 2**0.5 * design) / 2)


@batches
@settings(max_examples=25, deadline=None)
def test_the_depth_is_that_of_the_plain_loops(
    count: int, levels: int, seed: int, partly: bool
) -> None:
    codes, schemes = labels(count, levels, seed, partly)
    depth, c, s = shared_depth(codes, schemes).tolist(), codes.tolist(), schemes.tolist()
    for i in range(count):
        for j in set(range(count)) - {i}:
            slow = slow_depth(c[i], c[j], s[i] == s[j])
            assert depth[i][j] == (UNKNOWN if slow is None else slow)


@given(st.integers(2, 14), st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_target_sums_to_one_or_to_nothing(count: int, seed: int) -> None:
    target = hierarchical_target(tree(count, seed), MASS)
    assert (target.diagonal() == 0).all()
    for total in target.sum(1).tolist():
        assert total == pytest.approx(1) or total == 0


def test_each_level_keeps_its_mass_however_many_rows_share_it() -> None:
    codes = torch.tensor([[0, 0, 0]] * 2 + [[0, 0, 1 + n] for n in range(9)] + [[0, 1, 10]])
    target = hierarchical_target(codes, MASS)[0]
    assert target[1] == pytest.approx(0.7)
    assert target[2:11].sum() == pytest.approx(0.2)
    assert target[11] == pytest.approx(0.1)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_with_all_on_the_finest_level_every_tree_loss_is_supcon_on_designs(levels: int) -> None:
    rival = pytest.importorskip("pytorch_metric_learning.losses").SupConLoss(temperature=0.1)
    z, codes, finest = rows(16), tree(16, levels=levels), [0.0] * (levels - 1) + [1.0]
    expected = rival(z, codes[:, -1])
    for loss in (
        hierarchical_loss(z, codes, mass=finest),
        hierarchical_scores_loss(z, codes, scores=finest),
        supcon_loss(z, codes),
    ):
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("columns", [[0], [0, 1], [0, 1, 2], [0, 0, 1, 1, 2]])
def test_with_equal_scores_the_loss_is_supcon_on_classes(columns: list[int]) -> None:
    rival = pytest.importorskip("pytorch_metric_learning.losses").SupConLoss(temperature=0.1)
    z, codes = rows(16), tree(16)[:, columns]
    expected = rival(z, codes[:, 0]).item()
    equal = [0.5] * len(columns)
    assert hierarchical_scores_loss(z, codes, scores=equal).item() == pytest.approx(expected)
    assert supcon_loss(z, codes, level=0).item() == pytest.approx(expected)


def test_one_positive_a_row_is_infonce_whatever_the_loss_over_designs() -> None:
    rival = pytest.importorskip("pytorch_metric_learning.losses").NTXentLoss(temperature=0.1)
    z, design = rows(12), torch.arange(12) // 2
    codes = torch.stack([design // 3, design], dim=1)
    expected = rival(z, design).item()
    assert hierarchical_loss(z, codes, mass=(0, 1)).item() == pytest.approx(expected)
    assert hierarchical_loss(z, design[:, None], mass=(1,)).item() == pytest.approx(expected)
    assert hierarchical_scores_loss(z, codes, scores=(0, 1)).item() == pytest.approx(expected)
    assert supcon_loss(z, codes).item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_infonce_and_its_gradient_are_those_of_pytorch_metric_learning(seed: int) -> None:
    rival = pytest.importorskip("pytorch_metric_learning.losses").NTXentLoss(temperature=0.1)
    z, codes = rows(20, seed).requires_grad_(), tree(20, seed)
    expected = rival(z, codes[:, -1])
    [theirs] = torch.autograd.grad(expected, z)
    ours = infonce_loss(z, codes)
    [mine] = torch.autograd.grad(ours, z)
    assert ours.item() == pytest.approx(expected.item())
    # Theirs makes every row of length 1 again, so its gradient has no part along the row.
    across = mine - (mine * z).sum(1, keepdim=True) * z
    assert torch.allclose(across.detach(), theirs, atol=1e-9)


@every_loss
def test_a_pair_of_unknown_relation_gets_no_gradient_and_all_others_do(
    loss: Callable[..., Tensor],
) -> None:
    """On orthonormal rows the gradient of row i along row j is that of their similarity alone."""
    codes = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 1, 1], [0, 1, 1], [1, 2, 2], [1, 2, 2]])
    schemes = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    codes = torch.cat([codes, codes[:2]])
    z = torch.eye(8, dtype=torch.float64, requires_grad=True)
    [gradient] = torch.autograd.grad(loss(z, codes, schemes=schemes), z)
    across = schemes[:, None] != schemes[None, :]
    assert (gradient[across] == 0).all()
    if loss is not hmlc_loss:  # it leaves all but one of a group out
        one_class = [(i, j) for i in range(6) for j in range(6) if i != j]
        assert all(gradient[i, j] != 0 for i, j in one_class)


@every_loss
def test_a_row_without_any_known_relation_might_as_well_not_be_there(
    loss: Callable[..., Tensor],
) -> None:
    z, codes = rows(13).requires_grad_(), tree(12)
    nothing = torch.full((1, 3), UNKNOWN, dtype=codes.dtype)
    joined = loss(z, torch.cat([codes, nothing]))
    assert joined.item() == pytest.approx(loss(z[:12], codes).item())
    [gradient] = torch.autograd.grad(joined, z)
    assert (gradient[12] == 0).all()


@pytest.mark.parametrize("name", ["hierarchical", "hierarchical-scores", "supcon", "supcon-class"])
def test_two_schemes_in_a_batch_are_the_mean_of_both_weighted_by_their_rows(name: str) -> None:
    """Of 9 and 5 rows with a positive; codes that are equal by chance mean nothing."""
    loss, z = LOSSES[name], rows(15)
    first = torch.tensor([[0, 0, n // 3] for n in range(9)])
    second = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1], [7, 7, 7]])
    schemes = torch.tensor([0] * 9 + [1] * 6)
    joined = loss(z, torch.cat([first, second]), schemes=schemes)
    expected = (9 * loss(z[:9], first) + 5 * loss(z[9:], second)) / 14
    assert joined.item() == pytest.approx(expected.item())


def test_designs_without_a_class_are_told_apart_on_designs_and_let_be_on_classes() -> None:
    codes = torch.tensor([[UNKNOWN, 0], [UNKNOWN, 0], [UNKNOWN, 1], [UNKNOWN, 1]])
    assert shared_depth(codes).tolist()[0][1:] == [2, UNKNOWN, UNKNOWN]
    z = rows(4)
    assert supcon_loss(z, codes).item() == pytest.approx(supcon_loss(z, codes[:, 1:]).item())
    assert hierarchical_loss(z, codes, mass=(0.5, 0.5)).item() == 0  # one another, no rival


@every_loss
@given(st.integers(2, 13), st.integers(0, 10_000), st.booleans())
@settings(max_examples=8, deadline=None)
def test_other_names_for_the_codes_change_nothing(
    loss: Callable[..., Tensor], count: int, seed: int, partly: bool
) -> None:
    z, (codes, schemes) = rows(count, seed), labels(count, 3, seed, partly)
    renamed = codes.clone()
    for level in range(3):
        names = torch.from_numpy(np.random.default_rng(seed + level).permutation(20).astype("i4"))
        renamed[:, level] = torch.where(codes[:, level] < 0, UNKNOWN, names[codes[:, level].long()])
    before, after = loss(z, codes, schemes=schemes), loss(z, renamed, schemes=1 - schemes)
    assert before.item() == pytest.approx(after.item())


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "hmlc"])
@given(st.integers(2, 13), st.integers(0, 10_000), st.booleans())
@settings(max_examples=8, deadline=None)
def test_the_order_of_rows_does_not_matter(name: str, count: int, seed: int, partly: bool) -> None:
    z, (codes, schemes) = rows(count, seed), labels(count, 3, seed, partly)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    before = LOSSES[name](z, codes, schemes=schemes)
    after = LOSSES[name](z[order], codes[order], schemes=schemes[order])
    assert before.item() == pytest.approx(after.item())


@every_loss
@pytest.mark.parametrize("partly", [False, True])
def test_the_gradient_is_right(loss: Callable[..., Tensor], partly: bool) -> None:
    z, (codes, schemes) = rows(7, dim=3).requires_grad_(), labels(7, 3, 5, partly)
    assert torch.autograd.gradcheck(
        lambda x: loss(normalize(x), codes, temperature=0.5, schemes=schemes),
        (z,),
        fast_mode=True,
    )


@every_loss
@pytest.mark.parametrize("count", [1, 4])
def test_without_a_positive_the_loss_is_zero_with_a_gradient(
    loss: Callable[..., Tensor], count: int
) -> None:
    z = rows(count).requires_grad_()
    value = loss(z, torch.arange(count)[:, None].expand(-1, 3))
    [gradient] = torch.autograd.grad(value, z)
    assert value.item() == 0 and (gradient == 0).all()


@every_loss
@pytest.mark.parametrize(
    "codes",
    [
        [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]],
        [[0, 0, 0], [0, 0, 0], [1, 1, 1], [2, 2, 2]],
    ],
    ids=["one label a level", "one design", "a class with one design", "a figure alone"],
)
def test_a_poor_batch_gives_numbers(loss: Callable[..., Tensor], codes: list[list[int]]) -> None:
    z = rows(4).requires_grad_()
    value = loss(z, torch.tensor(codes))
    [gradient] = torch.autograd.grad(value, z)
    assert value.item() > 0 or codes == [[0, 0, 0]] * 4
    assert torch.isfinite(value) and torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_half_precision_gives_the_loss_and_gradient_of_float32(
    loss: Callable[..., Tensor], dtype: torch.dtype, temperature: float
) -> None:
    """Of the same rows, some of them identical; the rows alone are rounded, no sum is."""
    half = rows(12).to(dtype)
    half[3] = half[4] = half[0]
    half.requires_grad_()
    full = half.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(half, tree(12), temperature=temperature)
    expected = loss(full, tree(12), temperature=temperature)
    [given_gradient] = torch.autograd.grad(value, half)
    [gradient] = torch.autograd.grad(expected, full)
    assert value.dtype == torch.float32 and torch.isfinite(value)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(given_gradient.float(), gradient, rtol=0.01, atol=1e-3)


def test_half_precision_is_close_to_the_rows_before_rounding() -> None:
    z, codes = rows(12), tree(12)
    for loss in LOSSES.values():
        assert loss(z.half(), codes).item() == pytest.approx(loss(z, codes).item(), rel=0.01)


def test_regression_is_the_mean_of_one_minus_cosine() -> None:
    mapped, teacher = 3 * rows(5), rows(5, seed=1)
    slow = [
        1 - float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
        for a, b in zip(mapped, teacher, strict=True)
    ]
    assert regression_loss(mapped, teacher).item() == pytest.approx(sum(slow) / 5)
    assert regression_loss(2 * teacher, teacher).item() == pytest.approx(0, abs=1e-12)


def test_the_similarity_loss_is_that_of_the_plain_loops() -> None:
    z, teacher = rows(6), rows(6, seed=1, dim=5)
    total = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        wanted = [math.exp(float(teacher[i] @ teacher[j]) / 0.2) for j in others]
        found = [math.exp(float(z[i] @ z[j]) / 0.1) for j in others]
        for p, q in zip(wanted, found, strict=True):
            p, q = p / sum(wanted), q / sum(found)
            total += p * math.log(p / q)
    fast = similarity_loss(z, teacher, temperature=0.1, teacher_temperature=0.2)
    assert fast.item() == pytest.approx(total / 6)


def test_a_student_with_the_teachers_similarities_has_nothing_to_learn_from_them() -> None:
    z = rows(6).requires_grad_()
    turned = z.detach() @ torch.linalg.qr(rows(8)).Q
    loss = similarity_loss(z, turned, temperature=0.1, teacher_temperature=0.1)
    [gradient] = torch.autograd.grad(loss, z)
    assert loss.item() == pytest.approx(0, abs=1e-9) and gradient.abs().max() < 1e-9


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_losses_of_a_teacher_are_finite_in_half_precision(
    count: int, dtype: torch.dtype
) -> None:
    z, teacher = rows(1).expand(count, -1).to(dtype).requires_grad_(), rows(count, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = similarity_loss(z, teacher, temperature=0.01, teacher_temperature=0.01)
        loss = loss + regression_loss(z, teacher)
    [gradient] = torch.autograd.grad(loss, z)
    assert loss.dtype != dtype and torch.isfinite(loss) and torch.isfinite(gradient).all()
