"""Quantization-aware distillation: a network learns to give, in INT8, what it gives in FP32.

Its own FP32 weights are the teacher and its training drawings the lesson; no label is needed. What
comes out is an ordinary FP32 network, exported and quantized as any other: its weights have moved
to where rounding them, and all between them, turns the embeddings less.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity

from distill.augment import augment
from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.data import normalised
from distill.fake_quant import FakeQuantized
from distill.folding import Layer, find_layers, fold_norms
from distill.losses import regression_loss, similarity_loss
from distill.model import Student
from distill.odd import limits_of, odd_drawings, run_with_peaks
from distill.processor import keep_freed_memory, memory_suffices, tiny_numbers_are_zero
from distill.quantize import Recipe, choose_calibration
from edge_retrieval.arrays import Images
from edge_retrieval.errors import BundleError, ConfigError
from edge_retrieval.progress import Track, silent

SHARES = (1.0, 0.5, 0.25)
"""Of the way that the weights went: whole, it may leave FP32 by more than it spares in rounding."""
CHUNK = 32  # drawings that are calibrated on at once


@dataclass(frozen=True)
class QatSettings:
    """Every choice that changes the weights.

    Attributes:
        steps: Of the optimizer.
        batch: Drawings a step, 2 or more.
        lr: Highest learning rate of Adam, as a share of the size (root mean square) of each weight
            tensor: it takes all tensors equally far between two levels. It falls to 0 along half a
            cosine.
        similarity_weight: Of the KL divergence between the similarities that FP32 and INT8 give a
            batch, beside the mean of 1 - cosine.
        temperature: Of these similarities, above 0.
        per_channel: As in `Recipe`.
        reduce_range: As in `Recipe`.
        float_ends: As in `Recipe`.
        products: Quantize the products within attention as well.
        percentile: Share of the values, in percent, that the range of an activation holds.
        drawings: How many find the ranges.
        seed: Of drawings and augmentation.
    """

    steps: int = 300
    batch: int = 32
    lr: float = 2e-4
    similarity_weight: float = 1.0
    temperature: float = 0.1
    per_channel: bool = True
    reduce_range: bool = True
    float_ends: bool = True
    products: bool = True
    percentile: float = 99.99
    drawings: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        for name, right, rule in (
            ("steps", self.steps >= 1, "1 or more"),
            ("batch", self.batch >= 2, "2 or more"),
            ("lr", 0 < self.lr < 1, "above 0, below 1"),
            ("similarity_weight", self.similarity_weight >= 0, "0 or more"),
            ("temperature", self.temperature > 0, "above 0"),
        ):
            if not right:
                raise ConfigError(f"{name} = {getattr(self, name)!r}", hint=f"{name} is {rule}")
        self.recipe()

    def recipe(self) -> Recipe:
        """Return the recipe whose choices these are."""
        return Recipe(
            percentile=self.percentile,
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            float_ends=self.float_ends,
            drawings=self.drawings,
            seed=self.seed,
        )


def quantization_aware(
    student: Student,
    config: TrainConfig,
    cut: CutDrawings,
    settings: QatSettings,
    *,
    track: Track = silent,
    tell: Callable[[str], None] = lambda _: None,
) -> Student | None:
    """Train a copy of a network under fake quantization to embed as the network itself does.

    Args:
        student: FP32, on any device; left as it is.
        config: What it was trained with.
        cut: Its training drawings.
        settings: The choices.
        track: Shows progress.
        tell: Takes a line for a person: how near INT8 is to FP32 before and after.

    Returns:
        A network of the same make, in eval mode, with batch norms folded: FP32, for an export. Of
        the way that the weights went, as much as serves best on the drawings that find the ranges;
        None if none of it does.

    Raises:
        ConfigError: Too few training drawings, or a memory that is full.
        BundleError: The network cannot be folded, or the training diverged.
    """
    with tiny_numbers_are_zero(), memory_suffices():
        keep_freed_memory()
        device = next(student.parameters()).device
        rows = cut.training[choose_calibration(cut.classes[cut.training], settings.recipe())]
        teacher, learner = _copy(student), _copy(student)
        images = cut.images(rows)
        shown = _usual(teacher, images, device)
        layers = find_layers(learner, shown[0][:4])
        fold_norms(learner, layers, shown[0][:4])
        quantized = layers[1:-1] if settings.float_ends else layers
        began = time.monotonic()
        start = _weights(learner)
        with _rounded(learner, quantized, shown, settings) as fake:
            before = _nearness(teacher, fake, shown)
            _learn(teacher, learner, fake, config, cut, settings, shown, track)
        end = _weights(learner)
        share, after = 0.0, before
        for tried in SHARES:
            learner.load_state_dict(_between(start, end, tried))
            # Ranges are found anew, as an export does, and a drawing may have become odd.
            shown = _usual(learner, images, device)
            with _rounded(learner, quantized, shown, settings) as fake:
                found = _nearness(teacher, fake, shown)
            share, after = max((after, share), (found, tried))[::-1]
    said = f"quantization-aware distillation: {settings.steps} steps in"
    said += f" {time.monotonic() - began:.0f} s; median cosine to FP32, as INT8 rounds:"
    if not share:
        tell(f"{said} {before:.5f} before, and nothing better was found: left as it was")
        return None
    tell(f"{said} {before:.5f} before, {after:.5f} after")
    result = copy.deepcopy(student)  # in the student's own layout, its weights in its order
    result.load_state_dict(_between(start, end, share))
    return result.eval()


def _weights(model: Student) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _between(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return weights a share of the way from one state of a network to another."""
    return {
        name: torch.lerp(tensor, end[name], share) if tensor.is_floating_point() else end[name]
        for name, tensor in start.items()
    }


def _learn(
    teacher: Student,
    learner: Student,
    fake: FakeQuantized,
    config: TrainConfig,
    cut: CutDrawings,
    settings: QatSettings,
    shown: list[Tensor],
    track: Track,
) -> None:
    """Take the steps; the ranges stay as they are, so the network learns to keep to them."""
    weights = [parameter.requires_grad_() for parameter in learner.parameters()]
    sizes = [float(weight.detach().square().mean().sqrt()) for weight in weights]
    groups = [{"params": [weight]} for weight in weights]
    optimizer = torch.optim.Adam(groups, lr=settings.lr)
    # An odd drawing would decide the steps around it, and INT8 clips it anyway.
    limits = limits_of(torch.cat([run_with_peaks(teacher, one)[1] for one in shown], dim=1))
    batches = _batches(config, cut, settings)
    for step, images in enumerate(track(batches, "Quantization-aware", settings.steps)):
        rate = settings.lr * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        for group, size in zip(optimizer.param_groups, sizes, strict=True):
            group["lr"] = rate * size
        images = images.to(shown[0].device)
        wanted, peaks = run_with_peaks(teacher, images)  # (N, D), (L, N)
        usual = ~(peaks > limits[:, None]).any(0)  # (N,)
        if usual.sum() < 2:
            continue
        loss = _loss(fake(images[usual]), wanted[usual], settings)
        if not math.isfinite(float(loss.detach())):
            raise BundleError(
                f"quantization-aware distillation diverged at step {step + 1}", hint="lower lr"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _copy(student: Student) -> Student:
    """Return a copy in eval mode that nothing trains yet, laid out for speed."""
    copied: Student = copy.deepcopy(student).eval().requires_grad_(False)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def _rounded(
    learner: Student, layers: Sequence[Layer], shown: Sequence[Tensor], settings: QatSettings
) -> Iterator[FakeQuantized]:
    """Put a network under fake quantization for a while, with ranges found on some drawings."""
    fake = FakeQuantized(
        learner,
        layers,
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        products=settings.products,
    )
    fake.calibrate(shown, settings.percentile)
    try:
        yield fake
    finally:
        fake.remove()


def _usual(model: Student, images: Images, device: torch.device) -> list[Tensor]:
    """Return the drawings that are not odd, in batches."""
    usual = images[~odd_drawings(model, images, chunk=CHUNK)]
    parts = np.array_split(usual, math.ceil(len(usual) / CHUNK))
    return [_like_training(part).to(device) for part in parts]


def _like_training(images: Images) -> Tensor:
    return torch.from_numpy(images).contiguous(memory_format=torch.channels_last)


def _loss(given: Tensor, wanted: Tensor, settings: QatSettings) -> Tensor:
    loss = regression_loss(given, wanted)
    if settings.similarity_weight:
        loss = loss + settings.similarity_weight * similarity_loss(
            given,
            wanted,
            temperature=settings.temperature,
            teacher_temperature=settings.temperature,
        )
    return loss


@torch.no_grad()
def _nearness(teacher: Student, fake: FakeQuantized, shown: list[Tensor]) -> float:
    """Return the median cosine of both networks' embeddings: a clipped drawing decides no mean."""
    return float(torch.cat([cosine_similarity(fake(one), teacher(one)) for one in shown]).median())


def _batches(config: TrainConfig, cut: CutDrawings, settings: QatSettings) -> Iterator[Tensor]:
    """Yield ``(N, C, S, S)`` training drawings, lightly augmented, every one before any again."""
    light = _lightly(config)
    rng = np.random.default_rng([settings.seed, 5])
    queue: NDArray[np.int64] = np.empty(0, np.int64)
    for _ in range(settings.steps):
        while len(queue) < settings.batch:
            queue = np.concatenate([queue, rng.permutation(cut.training)])
        rows, queue = queue[: settings.batch], queue[settings.batch :]
        seeds = rng.integers(2**63, size=len(rows), dtype=np.uint64)
        squares = augment(cut.masters[rows], light, seeds)
        yield _like_training(normalised(squares, cut.preprocessing))


def _lightly(config: TrainConfig) -> TrainConfig:
    """Return the augmentation at half its strength, without what hides or breaks lines."""
    return replace(
        config,
        tilt=config.tilt / 2,
        shrink=config.shrink / 2,
        stretch=config.stretch / 2,
        strokes=config.strokes / 2,
        contrast=config.contrast / 2,
        specks=config.specks / 2,
        binarise=config.binarise / 2,
        erase=0.0,
        dashes=0.0,
        photo=0.0,
    )
