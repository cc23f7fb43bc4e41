"""Which figures make a step, and how they are prepared while the network learns from the last ones.

A step depends on the settings, the epoch and its place alone: not on how many processes share it,
nor on what was computed before. So a training can be resumed, and split, and gives the same.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distill.augment import Squares, augment
from distill.cells import mirrored
from distill.config import TrainConfig
from distill.data import Drawings, Scheme, normalised
from distill.losses import UNKNOWN
from distill.sampler import BatchShape, RowNumbers, epoch_batches
from distill.variants import Variants

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
        cells: ``(v, g * g, T)`` of the last v of `images`, which are variants, each number
            standardised; v is 0 without `config.cells`.
    """

    images: Tensor
    rows: Tensor
    codes: Tensor
    scheme: Tensor
    counts: Tensor
    cells: Tensor = torch.empty(0, 0, 0)


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
        variants: Variants | None = None,
    ) -> None:
        """Take the steps of an epoch from its `first` on; this process is `rank` of `ranks`.

        Rows of `variants` are counted on from those of the drawings.
        """
        self.masters = drawings.masters
        self.variants = None
        if variants is not None:
            self.masters = drawings.masters.followed_by(variants.masters)
            self.variants = variants if config.cells else None
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
        count = len(mine)
        if self.variants is not None:  # what the teacher says of a place holds for that place alone
            count = int((rows[mine] < len(self.drawings)).sum())
        plain, still = mine[:count], mine[count:]
        squares = augment(self.masters[rows[plain]], self.config, seeds[plain])
        cells = torch.empty(0, 0, 0)
        if len(still):
            shown, cells = self._still(rows[still], seeds[still])
            squares = np.concatenate([squares, shown])
        images = torch.from_numpy(normalised(squares, self.drawings.preprocessing))
        order = np.concatenate(shares)
        return Batch(
            images.contiguous(memory_format=torch.channels_last),
            torch.from_numpy(rows[order]),
            torch.from_numpy(codes[order]),
            torch.from_numpy(scheme_of[order]),
            torch.tensor([len(share) for share in shares]),
            cells,
        )

    def _still(self, rows: RowNumbers, seeds: NDArray[np.uint64]) -> tuple[Squares, Tensor]:
        """Return variants whose places are where the teacher saw them, but for mirrored ones."""
        assert self.variants is not None, "else nothing must stay where it is"
        config = replace(self.config, tilt=0.0, shrink=0.0, stretch=0.0, mirror=0.0)
        squares = augment(self.masters[rows], config, seeds)
        cells = torch.from_numpy(self.variants.standard_cells(rows - len(self.drawings)))
        turned = seeds / 2.0**63 < self.config.mirror
        squares[turned] = squares[turned][:, :, ::-1]
        flip = torch.from_numpy(turned)
        cells[flip] = mirrored(cells[flip], config.cells)
        return squares, cells


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
