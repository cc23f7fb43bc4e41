"""Student = timm backbone + projection to an embedding; TorchEncoder runs one as an Encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.backbone import make_backbone, width_of
from distill.config import TrainConfig
from distill.pooling import Levels, network_of
from distill.weights import Weights, fill, fit_backbone, read_weights
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import ConfigError


class Student(nn.Module):
    """A timm backbone with its pooling, then linear and batch norm to `dim` numbers.

    Batch norm takes out the mean that all drawings share: without it all embeddings start almost
    equal and the first epochs are lost. In eval mode it is an affine map.
    """

    def __init__(self, config: TrainConfig) -> None:
        """Make the network with random weights, or with timm's (downloaded by timm) if asked."""
        super().__init__()
        self.backbone = make_backbone(config)
        self.projection = nn.Linear(width_of(self.backbone, config), config.dim, bias=False)
        self.norm = nn.BatchNorm1d(config.dim)
        self.symmetric = config.symmetric

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``(N, C, H, W)`` into ``(N, dim)`` rows of length 1."""
        return self._embedded(self._features(images))

    def with_maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the embeddings, and the maps of every level that they were made of.

        As in training: without the mirror image. The backbone must pool "levels".
        """
        assert isinstance(self.backbone, Levels), "TrainConfig refuses cells of others"
        maps = self.backbone.maps(images)
        return self._embedded(self.backbone.pooled(maps)), maps

    def _embedded(self, features: Tensor) -> Tensor:
        projected = self.norm(self.projection(features))  # (N, D)
        return functional.normalize(projected.float())  # bf16 has too few digits for a length of 1

    def _features(self, images: Tensor) -> Tensor:
        if self.training or not self.symmetric:
            features: Tensor = self.backbone(images)  # (N, F)
            return features
        # In training mirrored figures come by chance; here both are seen, in one batch.
        both = self.backbone(torch.cat([images, images.flip(-1)]))  # (2N, F)
        mean: Tensor = both.reshape(2, -1, both.shape[1]).mean(0)  # (N, F)
        return mean


def make_student(config: TrainConfig) -> Student:
    """Make the network that a training starts from; equal configs give equal weights.

    Where a file of weights has its batch norms folded away, so has the student:
    `distill.weights.has_folded_norms` tells, `unfold_norms` mends it with some drawings.

    Raises:
        ConfigError: timm has no such backbone or refuses its arguments, the size or the pooling
            does not suit it, or `weights` cannot be read or do not fit.
    """
    with torch.random.fork_rng(devices=[]):  # timm's initialisation knows the global state only
        torch.manual_seed(config.seed)
        student = Student(config)
    if config.weights in ("none", "timm"):
        return student
    file = Path(config.weights)
    weights = read_weights(file)
    if "projection.weight" in weights:  # a checkpoint of another run, say at a smaller size
        rest = {k: v for k, v in weights.items() if not k.startswith(_BACKBONE)}
        fitted = fit_backbone(_backbone_of(weights), student.backbone)
        weights = rest | {_BACKBONE + k: v for k, v in fitted.items()}
        fill(student, weights, file, name=config.backbone)
    else:
        _fill_backbone(student.backbone, weights, file, config)
    return student


class Features(nn.Module):
    """A bare backbone, given drawings as it was trained on photographs.

    timm says what mean and deviation a network's own weights were trained with; drawings come with
    values from -1 to 1. A trained network adapts to that, one that is used as it is does not.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take mean and standard deviation of each colour, on values from 0 to 1."""
        super().__init__()
        self.backbone = backbone
        of, by = torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(std).view(1, -1, 1, 1)
        self.register_buffer("scale", 0.5 / by)
        self.register_buffer("shift", (0.5 - of) / by)

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``(N, C, H, W)`` of 1 channel or as many as colours into ``(N, F)``."""
        features: Tensor = self.backbone(self.scaled(images))
        return features

    def scaled(self, images: Tensor) -> Tensor:
        """Return images as the backbone wants them."""
        return images * self.scale + self.shift


def make_features(config: TrainConfig) -> nn.Module:
    """Make a bare backbone with its pooling, in eval mode: a teacher that nobody trained further.

    Returns:
        ``(N, channels, size, size)`` -> ``(N, F)``, of any length.

    Raises:
        ConfigError: As `make_student`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.weights == "timm":
            backbone = make_backbone(replace(config, channels=3))
            about = network_of(backbone).pretrained_cfg
            return Features(backbone, about["mean"], about["std"]).eval()  # type: ignore[index, arg-type]
        backbone = make_backbone(config)
    if config.weights != "none":
        file = Path(config.weights)
        weights = read_weights(file)
        if "projection.weight" in weights:
            weights = _backbone_of(weights)
            fill(backbone, fit_backbone(weights, backbone), file, name=config.backbone)
        else:
            _fill_backbone(backbone, weights, file, config)
    return backbone.eval()


def _fill_backbone(backbone: nn.Module, weights: Weights, file: Path, config: TrainConfig) -> None:
    """Load timm's own weights of a network, whatever pooling is around it here."""
    network = network_of(backbone)
    pruned = backbone.pruned if isinstance(backbone, Levels) else frozenset()
    known = {name: value for name, value in weights.items() if name not in pruned}
    fill(network, fit_backbone(known, network), file, name=config.backbone)


def load_student(run: Path, *, checkpoint: str = "best") -> tuple[Student, TrainConfig]:
    """Return the trained network of a run folder, in eval mode, and how it was trained.

    Args:
        run: What `train` wrote.
        checkpoint: "best" (by validation) or "last".

    Raises:
        ConfigError: Not a run folder, no such checkpoint, or a damaged one.
    """
    config = TrainConfig.load(run / "config.toml")
    student = Student(replace(config, weights="none"))  # all of them are in the checkpoint
    file = run / f"{checkpoint}.safetensors"
    if not file.is_file():
        raise ConfigError(
            f"{file}: no such checkpoint", hint="give a folder that edge-ret train wrote"
        )
    fill(student, read_weights(file), file, name=config.backbone)
    return student.eval(), config


def preprocessing_of(config: TrainConfig) -> Preprocessing:
    """Return what a network trained so must be given."""
    return Preprocessing(size=config.size, channels=config.channels)


_BACKBONE = "backbone."


def _backbone_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(_BACKBONE): value
        for key, value in weights.items()
        if key.startswith(_BACKBONE)
    }


class TorchEncoder:
    """A `Student` as an `Encoder`: for validation, and as the reference of an export."""

    backend = "torch"

    def __init__(self, student: Student, preprocessing: Preprocessing, *, batch: int = 128) -> None:
        """Take the network as it is; it is switched to eval mode while it embeds."""
        self.student = student
        self.dim = student.projection.out_features
        self.preprocessing = preprocessing
        self.batch = batch

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the weights and the preprocessing."""
        digest = hashlib.sha256(repr(sorted(self.preprocessing.to_json().items())).encode())
        for name, tensor in sorted(self.student.state_dict().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1; N may be 0."""
        rows = np.empty((len(images), self.dim), np.float32)
        training = self.student.training
        device = next(self.student.parameters()).device
        self.student.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(images), self.batch):
                    part = torch.from_numpy(images[start : start + self.batch]).to(device)
                    part = part.contiguous(memory_format=torch.channels_last)
                    rows[start : start + self.batch] = self.student(part).cpu().numpy()
        finally:
            self.student.train(training)
        return rows
