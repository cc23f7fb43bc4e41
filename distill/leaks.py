"""Near-duplicate figures: one drawing that two designs share, or a training and a test set.

A figure's signature is small: the drawing within its ink's box, stretched to 16 x 16, without its
coarse tones (else every solid disc were the same), and beside it the box's aspect and how much of
it is ink. The cosine of two signatures is near 1 for one drawing in two scans. Mirrored drawings
are left apart: a right and a left side view are mirror images within almost every design, but
across designs a mirrored figure is a different drawing, and the encoder is trained to tell it as
little as any other view.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from distill.augment import Squares
from edge_retrieval.errors import ConfigError, EvaluationError

if TYPE_CHECKING:
    from distill.drawing_cache import Stack

SIGNATURE_VERSION = 1
"""Of what follows: kept signatures of another version are made anew."""

Signatures = NDArray[np.float16]
"""(N, K) float16 rows of length 1, one a figure."""

SIDE = 16
FINE, COARSE = 0.5, 2.0
"""Pixels of the signature: detail below the first is blurred away, above the second taken out."""
ASPECT, INK = 0.5, 0.3
"""Weights of the aspect and of the amount of ink, beside 1 for the drawing itself."""
LEAST_INK = 48
"""Grey levels below white that count as ink; paper's noise does not."""
WIDTH = SIDE * SIDE + 4

NEAR = 0.965
"""Cosine from which two figures are one drawing. Of 2,213 figures of 1,191 US designs, pairs above
it are sibling designs that differ in a detail or not at all; below it come other designs of like
outline, discs first. Re-scanned, shifted, thickened or blurred copies stay above it: see
`tests/distill/test_leaks.py`."""

CHUNK = 4096
MOST_AT_ONCE = 60_000
"""Rows of the larger side up to which all pairs are compared; beyond that only likely ones."""


def signatures(squares: Squares | Stack) -> Signatures:
    """Return ``(N, K)`` of ``(N, S, S)`` uint8 figures, read a chunk at a time."""
    found = np.empty((len(squares), WIDTH), np.float16)
    for start in range(0, len(squares), CHUNK):
        for row, square in enumerate(squares[start : start + CHUNK], start):
            found[row] = _signature(square)
    return found


def _signature(square: Squares) -> NDArray[np.float32]:
    ink = 255 - square
    rows, columns = (np.flatnonzero((ink > LEAST_INK).any(axis)) for axis in (1, 0))
    if len(rows):
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = Image.fromarray(np.ascontiguousarray(ink))
    small = np.asarray(box.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    detail = _blurred(small, FINE) - _blurred(small, COARSE)
    aspect = np.log(ink.shape[1] / ink.shape[0])
    amount = 2.0 * float(ink.mean()) / 255
    parts = [
        detail.ravel() / max(float(np.linalg.norm(detail)), 1e-6),
        np.sqrt(ASPECT) * np.array([np.cos(aspect), np.sin(aspect)]),
        np.sqrt(INK) * np.array([np.cos(amount), np.sin(amount)]),
    ]
    whole = np.concatenate(parts).astype(np.float32)
    length: NDArray[np.float32] = whole / np.linalg.norm(whole)
    return length


def _blurred(small: Squares, sigma: float) -> NDArray[np.float32]:
    """Blur with paper all around: at the edge nothing is known but that the figure ends."""
    pad = 2 * SIDE // 4
    blurred = Image.fromarray(np.pad(small, pad)).filter(ImageFilter.GaussianBlur(sigma))
    return np.asarray(blurred, np.float32)[pad:-pad, pad:-pad]


@dataclass(frozen=True)
class Leak:
    """A design that was trained on and comes again among those that measure.

    Attributes:
        trained: Its number in the training.
        tested: Its number among those that measure.
        similarity: Cosine of the two figures' signatures; 1 where the numbers are equal.
    """

    trained: str
    tested: str
    similarity: float


class Pairs(NamedTuple):
    """Rows of the first set, rows of the second, and the cosines: ``(P,)`` each."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float32]


def near_pairs(
    first: Signatures, second: Signatures, *, threshold: float = NEAR
) -> Iterator[Pairs]:
    """Yield the pairs of near-duplicates of two sets, a part of them at a time.

    Up to `MOST_AT_ONCE` rows every pair is compared. Of larger sets only those that lie in one
    bucket of a random hash, under any of several: a copy of cosine 0.99 is missed once in some
    thousands, one just at the threshold once in some dozens; a pair may come more than once.
    """
    if max(len(first), len(second)) <= MOST_AT_ONCE:
        yield from _all_pairs(first, second, threshold)
        return
    rng = np.random.default_rng(0)
    mean = np.concatenate([part[:MOST_AT_ONCE] for part in (first, second)]).mean(0, np.float32)
    bits = max(1, int(np.log2(max(len(first), len(second)) / BUCKET)))
    for _ in range(TABLES):
        planes = rng.normal(size=(first.shape[1], bits)).astype(np.float32)
        hashes = [_hashes(part, mean, planes) for part in (first, second)]
        orders = [np.argsort(part, kind="stable") for part in hashes]
        names = np.arange(2**bits + 1)
        ends = [np.searchsorted(h[o], names) for h, o in zip(hashes, orders, strict=True)]
        for name in range(2**bits):
            rows = [o[e[name] : e[name + 1]] for o, e in zip(orders, ends, strict=True)]
            for found in _all_pairs(first[rows[0]], second[rows[1]], threshold):
                yield Pairs(rows[0][found.first], rows[1][found.second], found.similarity)


TABLES, BUCKET = 16, 512
"""Random hashes, and about how many rows are in a bucket of each."""


def _hashes(rows: Signatures, mean: Signatures, planes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return ``(N,)``: on which side of each of some random planes a signature lies, as bits."""
    weights = 1 << np.arange(planes.shape[1])
    found = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), CHUNK):
        sides = (rows[start : start + CHUNK].astype(np.float32) - mean) @ planes > 0
        found[start : start + CHUNK] = sides @ weights
    return found


def _all_pairs(first: Signatures, second: Signatures, threshold: float) -> Iterator[Pairs]:
    if not len(first) or not len(second):
        return
    across = second.astype(np.float32).T  # (K, M)
    for start in range(0, len(first), CHUNK // 4):
        similarity = first[start : start + CHUNK // 4].astype(np.float32) @ across  # (n, M)
        rows, columns = np.nonzero(similarity >= threshold)
        yield Pairs(rows + start, columns, similarity[rows, columns])


def twins(
    first: Signatures,
    first_design: NDArray[np.int64],
    second: Signatures,
    second_design: NDArray[np.int64],
    *,
    threshold: float = NEAR,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs of designs that share at least half of the figures of either.

    One figure is not enough: many designs of plain shape have a disc or a rectangle for a bottom
    view. Half of either, not of both: one source may have all views, another the front page alone.

    Args:
        first: ``(N, K)``.
        first_design: ``(N,)`` design of each figure, 0, 1, ...
        second: ``(M, K)``.
        second_design: ``(M,)`` likewise, in numbers of its own.
        threshold: Cosine from which two figures are one drawing.

    Returns:
        ``(P, 2)`` designs, and ``(P,)`` the greatest cosine of their figures.
    """
    parts = list(near_pairs(first, second, threshold=threshold)) or [_NONE]
    rows = np.concatenate([part.first for part in parts])  # (pairs,)
    columns = np.concatenate([part.second for part in parts])
    similarity = np.concatenate([part.similarity for part in parts])
    one, other = first_design[rows], second_design[columns]  # (pairs,)
    both, place = np.unique(np.stack([one, other], axis=1), axis=0, return_inverse=True)
    place = place.reshape(-1)
    shares = []
    for figures, design, side in ((rows, first_design, 0), (columns, second_design, 1)):
        # Each figure counts once for a pair of designs, however many it resembles there.
        once = np.unique(np.stack([place, figures], axis=1), axis=0)[:, 0]
        count = np.bincount(once, minlength=len(both))  # (P,)
        shares.append(count / np.bincount(design, minlength=1)[both[:, side]])
    greatest = np.zeros(len(both), np.float32)
    np.maximum.at(greatest, place, similarity)
    kept = np.maximum(*shares) >= SHARED
    return both[kept], greatest[kept]


_NONE = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))

SHARED = 0.5
"""Share of a design's figures that make it another's twin."""


def find_leaks(
    train_sig: Signatures,
    train_designs: Sequence[str],
    test_sig: Signatures,
    test_designs: Sequence[str],
    *,
    threshold: float = NEAR,
) -> list[Leak]:
    """Return the designs that are in both sets: by number, or as `twins`.

    Args:
        train_sig: ``(N, K)`` of the figures that were trained on.
        train_designs: ``(N,)`` numbers of their designs.
        test_sig: ``(M, K)`` of the figures that are to measure.
        test_designs: ``(M,)`` numbers of theirs.
        threshold: Cosine from which two figures are one drawing.

    Returns:
        The surest first, each pair of designs once.
    """
    best = {(number, number): 1.0 for number in set(train_designs) & set(test_designs)}
    trained, trained_of = np.unique(np.array(train_designs, np.str_), return_inverse=True)
    tested, tested_of = np.unique(np.array(test_designs, np.str_), return_inverse=True)
    pairs, similarity = twins(
        train_sig, trained_of.reshape(-1), test_sig, tested_of.reshape(-1), threshold=threshold
    )
    for (one, other), cosine in zip(pairs.tolist(), similarity.tolist(), strict=True):
        key = str(trained[one]), str(tested[other])
        best[key] = max(best.get(key, -1.0), cosine)
    ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    return [Leak(*key, min(similarity, 1.0)) for key, similarity in ordered]


def refuse_leaks(
    train_sig: Signatures,
    train_designs: Sequence[str],
    test_sig: Signatures,
    test_designs: Sequence[str],
    *,
    threshold: float = NEAR,
    hint: str = "measure on designs that were not trained on, and on no copies of them",
) -> None:
    """Refuse to measure on what was trained on; as `find_leaks`.

    Raises:
        EvaluationError: A design is in both sets; the surest pair is named.
    """
    leaks = find_leaks(train_sig, train_designs, test_sig, test_designs, threshold=threshold)
    if not leaks:
        return
    raise EvaluationError(said_of(leaks), hint=hint)


def said_of(leaks: Sequence[Leak]) -> str:
    """Say in one line how many designs leak, and which most surely."""
    first, count = leaks[0], len({leak.tested for leak in leaks})
    same = first.trained == first.tested
    pair = (
        f"{first.tested} itself"
        if same
        else f"{first.tested} is almost {first.trained}, cosine {first.similarity:.3f}"
    )
    are = "design of the test was" if count == 1 else "designs of the test were"
    return f"{count} {are} trained on: {pair}" + (", and others" if count > 1 else "")


def linked(
    signatures: Signatures,
    design: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    threshold: float = NEAR,
) -> NDArray[np.int64]:
    """Join groups of designs that hold `twins`.

    Args:
        signatures: ``(N, K)``.
        design: ``(N,)`` design of each figure, 0, 1, ...
        groups: ``(D,)`` group of each design, 0, 1, ...
        threshold: Cosine from which two figures are one drawing.

    Returns:
        ``(D,)`` for each design the least number of the groups that its own is joined with.
    """
    parents = np.arange(int(groups.max(initial=-1)) + 1)

    def root(group: int) -> int:
        while parents[group] != group:
            parents[group] = parents[parents[group]]
            group = int(parents[group])
        return group

    pairs, _ = twins(signatures, design, signatures, design, threshold=threshold)
    ends = np.sort(groups[pairs], axis=1)  # (P, 2)
    for one, other in np.unique(ends[ends[:, 0] < ends[:, 1]], axis=0).tolist():
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    return np.array([root(int(group)) for group in groups], np.int64)


def save_seen(file: Path, signatures: Signatures, designs: Sequence[str]) -> None:
    """Keep what was trained on, to tell later what must not measure; whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        with partial.open("wb") as out:
            np.savez(out, signatures=signatures, designs=np.array(designs, dtype=np.str_))
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(
            f"{file}: cannot be written: {error.strerror}", hint="make room there"
        ) from error


def load_seen(file: Path) -> tuple[Signatures, tuple[str, ...]]:
    """Read what `save_seen` wrote: signatures and the design of each.

    Raises:
        ConfigError: It is not there, or damaged.
    """
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            found, designs = stored["signatures"], stored["designs"].tolist()
        if found.shape != (len(designs), WIDTH):
            raise ValueError(f"{found.shape} signatures of {len(designs)} figures")
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: not there: nothing tells what the run was trained on",
            hint="go on with the training: edge-ret train --resume",
        ) from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{file}: damaged: {error}", hint="delete it, then: edge-ret train --resume"
        ) from error
    return found.astype(np.float16), tuple(designs)
