"""Our measures against those of torchmetrics and pytorch-metric-learning, where they mean the same.

torchmetrics takes one query at a time and, for graded relevance, the gain itself: 2^depth - 1. It
gives 0 to a query with nothing relevant, which ours leaves out. pytorch-metric-learning finds the
neighbours itself and takes the mean over the queries that have any.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from distill._timm import timm  # noqa: F401  torchmetrics imports torchvision, whatever its build
from edge_retrieval.metrics import (
    average_precision,
    average_precision_at_k,
    hit_rate_at_k,
    leave_one_out,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)

QUERIES, GALLERY = 12, 40

with warnings.catch_warnings():  # both import parts that others have deprecated
    warnings.simplefilter("ignore")
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN
    from torchmetrics.functional.retrieval import (
        retrieval_average_precision,
        retrieval_hit_rate,
        retrieval_normalized_dcg,
        retrieval_recall,
        retrieval_reciprocal_rank,
    )


@pytest.fixture(params=range(4))
def depth(request: pytest.FixtureRequest) -> NDArray[np.int64]:
    """(Q, N) levels that the items of a ranking share with the query, best rank first."""
    rng = np.random.default_rng(request.param)
    shares = [
        [0.9, 0.05, 0.03, 0.02],
        [0.4, 0.3, 0.2, 0.1],
        [0.05, 0.05, 0.1, 0.8],
        [0.97, 0, 0, 0.03],
    ]
    found = rng.choice(4, size=(QUERIES, GALLERY), p=shares[request.param])
    found[:, -1] = 3  # every query has something relevant
    return found


def each(rival: Any, target: NDArray[np.int64], **settings: Any) -> list[float]:
    """A measure of torchmetrics for each query; the scores fall with the rank, and stay above 0:
    an item of score 0 counts as not found there."""
    scores = torch.linspace(1, 0.1, GALLERY)
    return [float(rival(scores, torch.from_numpy(row), **settings)) for row in target]


def test_average_precision_is_that_of_torchmetrics(depth: NDArray[np.int64]) -> None:
    target = depth >= 2
    assert average_precision(target) == pytest.approx(each(retrieval_average_precision, target))


@pytest.mark.parametrize("k", [1, 5, 10])
def test_measures_at_k_are_those_of_torchmetrics(depth: NDArray[np.int64], k: int) -> None:
    target = depth >= 2
    assert hit_rate_at_k(target, k) == pytest.approx(each(retrieval_hit_rate, target, top_k=k))
    assert recall_at_k(target, k) == pytest.approx(each(retrieval_recall, target, top_k=k))
    assert reciprocal_rank(target, k) == pytest.approx(
        each(retrieval_reciprocal_rank, target, top_k=k)
    )


def test_the_reciprocal_rank_is_that_of_torchmetrics(depth: NDArray[np.int64]) -> None:
    target = depth >= 1
    assert reciprocal_rank(target) == pytest.approx(each(retrieval_reciprocal_rank, target))


@pytest.mark.parametrize("k", [1, 5, 10, GALLERY])
def test_ndcg_of_the_gains_is_that_of_torchmetrics(depth: NDArray[np.int64], k: int) -> None:
    gains = 2**depth - 1
    found = each(retrieval_normalized_dcg, gains, top_k=k)
    assert ndcg_at_k(depth, k) == pytest.approx(found, abs=1e-6)


def rows_of_length_one(count: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_is_that_of_pytorch_metric_learning(seed: int) -> None:
    """Among designs of one to five figures; those of one figure are no query in either."""
    rng = np.random.default_rng(seed)
    design = np.repeat(np.arange(20), rng.integers(1, 6, 20))
    rng.shuffle(design)
    embeddings = rows_of_length_one(len(design), seed)
    rival = AccuracyCalculator(
        include=("mean_average_precision", "precision_at_1", "mean_reciprocal_rank"),
        k=len(design) - 1,
        knn_func=CustomKNN(CosineSimilarity()),
        device=torch.device("cpu"),
    )
    expected = rival.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(design))
    codes = design.astype(np.int32)[:, None]
    [scores, _] = leave_one_out(embeddings, codes, ("design",))
    assert scores.skipped == (np.bincount(design)[design] == 1).sum()
    assert scores.values["mAP"] == pytest.approx(expected["mean_average_precision"], abs=1e-6)
    assert scores.values["hit_rate@1"] == pytest.approx(expected["precision_at_1"], abs=1e-6)
    assert scores.values["MRR"] == pytest.approx(expected["mean_reciprocal_rank"], abs=1e-6)


def test_map_at_r_of_pytorch_metric_learning_is_ap_over_the_first_r_ranks() -> None:
    """MAP@R cuts each query where its relevant items would end: R, another for each design."""
    design = np.repeat(np.arange(8), [2, 3, 4, 5, 2, 3, 6, 4])
    embeddings = rows_of_length_one(len(design), 5)
    rival = AccuracyCalculator(
        include=("mean_average_precision_at_r",),
        k="max_bin_count",
        knn_func=CustomKNN(CosineSimilarity()),
        device=torch.device("cpu"),
    )
    expected = rival.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(design))
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    ranking = np.argsort(-similarity, axis=1)[:, :-1]
    relevant = design[ranking] == design[:, None]
    values = [
        average_precision_at_k(row[None], int(row.sum()), denominator="relevant")[0]
        for row in relevant
    ]
    assert np.mean(values) == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)
