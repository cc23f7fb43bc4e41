"""Maps from one encoder's embeddings to another's, fitted on figures that both have embedded.

A fit takes ``(n, D)`` rows of one encoder and ``(n, E)`` of the other, and returns what maps
``(N, D)`` to ``(N, E)``, rows of length 1. Settings are chosen on designs of the fit that are held
out in turn; nothing else is looked at.

Sources:
    Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 1966.
    The three forms, a rotation, a linear map and a small residual network, are those of Vejendla,
    Drift-Adapter, EMNLP 2025, arXiv:2509.23471, whose linear map is of low rank where ours is
    shrunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from figures import unit
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Mapping = Callable[[Rows], Rows]

FITS = ("rotation", "linear", "network")
FOLDS = 3
SHRINKS = tuple(float(10.0**power) for power in np.arange(-4, 2.5, 0.5))
"""Ridge, as multiples of the mean variance of the old rows."""
HIDDEN, EPOCHS, PATIENCE = 256, 300, 30


def fit_all(old: Rows, new: Rows, design: NDArray[np.int64], seed: int) -> dict[str, Mapping]:
    """Fit each of `FITS`.

    Args:
        old: ``(n, D)`` rows of length 1.
        new: ``(n, E)`` of the same figures.
        design: ``(n,)`` numbers of their designs.
        seed: Of what is held out, and of where the network starts.
    """
    linear = ridge(old, new, design, seed)
    return {
        "rotation": procrustes(old, new),
        "linear": linear,
        "network": network(old, new, design, seed, linear),
    }


def procrustes(old: Rows, new: Rows) -> Mapping:
    """Rotate about the means: the orthogonal map with the least squares, from one SVD."""
    shift, to = old.mean(axis=0), new.mean(axis=0)
    left, _, right = np.linalg.svd((old - shift).T @ (new - to), full_matrices=False)
    turn = left @ right  # (D, E)
    return lambda rows: unit((rows - shift) @ turn + to)


def ridge(old: Rows, new: Rows, design: NDArray[np.int64], seed: int) -> Mapping:
    """Take the affine map with the least squares, shrunk by what held-out designs like best."""
    scores = np.zeros(len(SHRINKS))
    for fitted, held in folds(design, seed):
        maps = _affine(old[fitted], new[fitted])
        for place, shrink in enumerate(SHRINKS):
            scores[place] += float((maps(shrink)(old[held]) * new[held]).sum())
    return _affine(old, new)(SHRINKS[int(scores.argmax())])


def _affine(old: Rows, new: Rows) -> Callable[[float], Mapping]:
    """Return what gives the map for any shrinking: one SVD serves all of them."""
    shift, to = old.mean(axis=0), new.mean(axis=0)
    left, sizes, right = np.linalg.svd((old - shift).astype(np.float64), full_matrices=False)
    turned = left.T @ (new - to)  # (R, E)
    unit_size = float((sizes**2).sum()) / old.shape[1]

    def shrunk(shrink: float) -> Mapping:
        weights = right.T @ (turned * (sizes / (sizes**2 + shrink * unit_size))[:, None])  # (D, E)
        single = weights.astype(np.float32)
        return lambda rows: unit((rows - shift) @ single + to)

    return shrunk


def network(old: Rows, new: Rows, design: NDArray[np.int64], seed: int, base: Mapping) -> Mapping:
    """Add to the shrunk affine map what a layer of hidden units finds; stop by held-out designs."""
    import torch

    fitted, held = next(folds(design, seed))
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(
        torch.nn.Linear(old.shape[1], HIDDEN),
        torch.nn.GELU(),
        torch.nn.Linear(HIDDEN, new.shape[1]),
    )
    torch.nn.init.zeros_(layers[2].weight)  # it begins as the affine map
    torch.nn.init.zeros_(layers[2].bias)
    given, start, wanted = (torch.from_numpy(rows) for rows in (old, base(old), new))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-3, weight_decay=0.1)
    best, kept, waited = -1.0, [one.clone() for one in layers.parameters()], 0
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(fitted)[torch.randperm(len(fitted))].split(128):
            lost = 1 - torch.cosine_similarity(start[rows] + layers(given[rows]), wanted[rows])
            optimizer.zero_grad()
            lost.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.inference_mode():
            mapped = start[held] + layers(given[held])
            score = float(torch.cosine_similarity(mapped, wanted[held]).mean())
        waited += 1
        if score > best:
            best, kept, waited = score, [one.detach().clone() for one in layers.parameters()], 0
        if waited >= PATIENCE:
            break

    def mapping(rows: Rows) -> Rows:
        with torch.inference_mode():
            for own, value in zip(layers.parameters(), kept, strict=True):
                own.copy_(value)
            return unit(base(rows) + layers(torch.from_numpy(rows)).numpy())

    return mapping


def folds(
    design: NDArray[np.int64], seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows to fit on and rows held out; no design is on both sides."""
    names = np.random.default_rng(seed).permutation(np.unique(design))
    for held in np.array_split(names, FOLDS):
        out = np.isin(design, held)
        yield np.flatnonzero(~out), np.flatnonzero(out)
