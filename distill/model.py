"""Student = timm backbone + projection to an embedding; TorchEncoder runs one as an Encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from distill._timm import timm
from distill.config import TrainConfig
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import ConfigError


class Student(nn.Module):
    """A timm backbone with average pooling, then linear and batch norm to `dim` numbers.

    Batch norm takes out the mean that all drawings share: without it all embeddings start almost
    equal and the first epochs are lost. In eval mode it is an affine map.
    """

    def __init__(self, backbone: str, *, channels: int, dim: int, pretrained: bool = False) -> None:
        """Make the network with random weights, or with timm's (downloaded by timm) if asked."""
        super().__init__()
        self.backbone = _backbone(backbone, channels, pretrained)
        # Some families keep a layer after the pooling: its width is not `num_features`.
        width: Any = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        self.projection = nn.Linear(width, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``(N, C, H, W)`` into ``(N, dim)`` rows of length 1."""
        features = self.backbone(images)  # (N, F)
        projected = self.norm(self.projection(features))  # (N, D)
        return functional.normalize(projected)


def make_student(config: TrainConfig) -> Student:
    """Make the network that a training starts from; equal configs give equal weights.

    Raises:
        ConfigError: timm has no such backbone, or `weights` cannot be read or do not fit.
    """
    with torch.random.fork_rng(devices=[]):  # timm's initialisation knows the global state only
        torch.manual_seed(config.seed)
        student = Student(
            config.backbone,
            channels=config.channels,
            dim=config.dim,
            pretrained=config.weights == "timm",
        )
    if config.weights not in ("none", "timm"):
        _load_start(student, Path(config.weights))
    return student


def load_student(run: Path, *, checkpoint: str = "best") -> tuple[Student, TrainConfig]:
    """Return the trained network of a run folder, in eval mode, and how it was trained.

    Args:
        run: What `train` wrote.
        checkpoint: "best" (by validation) or "last".

    Raises:
        ConfigError: Not a run folder, no such checkpoint, or a damaged one.
    """
    config = TrainConfig.load(run / "config.toml")
    student = Student(config.backbone, channels=config.channels, dim=config.dim)
    _load(student, run / f"{checkpoint}.safetensors")
    return student.eval(), config


def preprocessing_of(config: TrainConfig) -> Preprocessing:
    """Return what a network trained so must be given."""
    return Preprocessing(size=config.size, channels=config.channels)


class TorchEncoder:
    """A `Student` as an `Encoder`: for validation, and as the reference of an export."""

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
        self.student.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(images), self.batch):
                    part = torch.from_numpy(images[start : start + self.batch])
                    part = part.contiguous(memory_format=torch.channels_last)
                    rows[start : start + self.batch] = self.student(part).numpy()
        finally:
            self.student.train(training)
        return rows


def _backbone(name: str, channels: int, pretrained: bool) -> nn.Module:
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:3] or ["mobilenetv3_small_100"]
        raise ConfigError(f"no backbone {name!r} in timm", hint=f"for example {', '.join(near)}")
    model: nn.Module = timm.create_model(
        name, pretrained=pretrained, num_classes=0, in_chans=channels
    )
    return model


def _load_start(student: Student, file: Path) -> None:
    """Load a checkpoint of another run, say at a smaller size, or the weights of a backbone."""
    weights = _read(file)
    _fill(student if "projection.weight" in weights else student.backbone, weights, file)


def _load(module: nn.Module, file: Path) -> None:
    _fill(module, _read(file), file)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise _cannot_load(file, error) from error
    return weights


def _fill(module: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise _cannot_load(file, error) from error


def _cannot_load(file: Path, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:200]
    return ConfigError(
        f"{file}: these weights cannot be loaded: {reason}",
        hint="give a .safetensors file of the same network, or train anew",
    )
