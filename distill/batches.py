"""Which figures make a step, and how they are prepared while the network learns from the last ones.

A step depends on the settings, the epoch and its place alone: not on how many processes share it,
nor on what was computed before. So a training can be resumed, and split, and gives the same.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distill.augment import augment
from distill.config import TrainConfig
from distill.data import Drawings, Scheme, normalised
from distill.drawing_cache import Stack
from distill.losses import UNKNOWN
from distill.sampler import BatchShape, RowNumbers, epoch_batches

AHEAD = 6  # steps made in advance

Step = tuple[RowNumbers, ...]
"""For each scheme a batch: figures within it; with variants, behind them a batch of those."""


class Batch(NamedTuple):
    """One step of one process.

    Attributes:
        images: ``(n, C, S, S)`` of this process.
        rows: ``(N,)`` row numbers in the drawings, of all processes, in the order of their ranks.
        codes: ``(N, L)`` of all processes; a flatter tree is padded on the coarse side.
        scheme: ``(N,)`` number of each figure's scheme; of a variant the one after the last.
        counts: n of each process.
    """

    images: Tensor
    rows: Tensor
    codes: Tensor
    scheme: Tensor
    counts: Tensor


def epoch_steps(
    config: TrainConfig, schemes: Sequence[Scheme], *, epoch: int, done: int
) -> list[Step]:
    """Return the steps of an epoch: each takes one batch of every scheme.

    Drawings of all sources are normalised together in training as they are later in use; were a
    step all made drawings or all real ones, batch norm would learn two worlds and use their mean.
    The longest scheme sets the length; a shorter one goes round again, in another order.

    Args:
        config: Its batch shape, seed and `steps`.
        schemes: What is trained on.
        epoch: From 0.
        done: Steps of the epochs before.

    Returns:
        Of each step, for each scheme numbers of figures within it; with `config.variants` then
        numbers of variants: all in turn, in another order each time round.
    """
    shape = BatchShape(config.classes, config.subclasses, config.designs, config.figures)
    rounds = [
        epoch_batches(scheme.codes, shape, seed=config.seed + number, epoch=epoch)
        for number, scheme in enumerate(schemes)
    ]
    length = max(len(batches) for batches in rounds)
    for number, (scheme, batches) in enumerate(zip(schemes, rounds, strict=True)):
        seeds = np.random.default_rng([config.seed, epoch, 2, number])
        while len(batches) < length:
            again = int(seeds.integers(2**31))
            batches += epoch_batches(scheme.codes, shape, seed=again, epoch=epoch)
    if config.variants:
        rounds.append(_variant_batches(config, epoch, length))
    steps: list[Step] = list(zip(*(batches[:length] for batches in rounds), strict=True))
    return steps[: config.steps - done] if config.steps else steps


def _variant_batches(config: TrainConfig, epoch: int, length: int) -> list[RowNumbers]:
    dice = np.random.default_rng([config.seed, epoch, 5])
    rounds = -(-length * config.variant_batch // config.variants)
    order = np.concatenate([dice.permutation(config.variants) for _ in range(rounds)])
    return list(order[: length * config.variant_batch].reshape(length, -1))


class Batches(Dataset[Batch]):
    """The steps of one epoch, each made when it is asked for."""

    def __init__(
        self,
        steps: Sequence[Step],
        schemes: Sequence[Scheme],
        drawings: Drawings,
        config: TrainConfig,
        *,
        epoch: int,
        first: int = 0,
        rank: int = 0,
        ranks: int = 1,
        variants: Stack | None = None,
    ) -> None:
        """Take the steps of an epoch from its `first` on; this process is `rank` of `ranks`.

        `variants` are masters like those of the drawings; their rows are counted on from those.
        """
        self.masters = drawings.masters
        if variants is not None:
            self.masters = drawings.masters.followed_by(variants)
        self.steps, self.schemes, self.drawings, self.config = steps, schemes, drawings, config
        self.epoch, self.first, self.rank, self.ranks = epoch, first, rank, ranks
        self.depth = max(len(scheme.levels) for scheme in schemes)

    def __len__(self) -> int:
        return len(self.steps) - self.first

    def __getitem__(self, number: int) -> Batch:
        """Make one step: this process's images, and what all processes must know of the rest."""
        place = self.first + number
        step = self.steps[place]
        pairs = list(zip(self.schemes, step, strict=False))
        variants = step[len(pairs) :]  # one batch of them, or none
        places = [scheme.rows[own] for scheme, own in pairs]
        places += [len(self.drawings) + own for own in variants]
        rows = np.concatenate(places)  # (N,)
        codes = np.full((len(rows), self.depth), UNKNOWN, np.int64)  # (N, L)
        scheme_of = np.repeat(np.arange(len(step)), [len(own) for own in step])  # (N,)
        for index, (scheme, own) in enumerate(pairs):
            codes[scheme_of == index, self.depth - len(scheme.levels) :] = scheme.codes[own]
        # A figure's changes depend on its place alone.
        dice = np.random.default_rng([self.config.seed, self.epoch, 3, place])
        seeds = dice.integers(2**63, size=len(rows), dtype=np.uint64)
        # Every process takes a share of every scheme: batch norm sees all sources everywhere.
        shares = [np.arange(len(rows))[rank :: self.ranks] for rank in range(self.ranks)]
        mine = shares[self.rank]
        squares = augment(self.masters[rows[mine]], self.config, seeds[mine])
        images = torch.from_numpy(normalised(squares, self.drawings.preprocessing))
        order = np.concatenate(shares)
        return Batch(
            images.contiguous(memory_format=torch.channels_last),
            torch.from_numpy(rows[order]),
            torch.from_numpy(codes[order]),
            torch.from_numpy(scheme_of[order]),
            torch.tensor([len(share) for share in shares]),
        )


def prepared(batches: Batches, workers: int) -> Generator[Batch, None, None]:
    """Yield every batch in order, made a few ahead of the loop.

    Args:
        batches: What to make.
        workers: Processes that make them; 0: a thread, which costs no copies and suffices where
            the network is what takes the time.
    """
    if workers:
        ahead = max(1, -(-AHEAD // workers))
        own = torch.Generator()  # else it draws from torch's, and a resume draws once more
        yield from DataLoader(
            batches, batch_size=None, num_workers=workers, prefetch_factor=ahead, generator=own
        )
        return
    ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(item: Batch | BaseException) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for number in range(len(batches)):
                if stop.is_set():
                    return
                put(batches[number])
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(len(batches)):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
