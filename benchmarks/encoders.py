"""What stands beside our encoders: pixels, histograms of gradients, networks without our training.

Networks are exported to ONNX as ours are and run on onnxruntime as ours do, on one thread, so that
their seconds and bytes compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from distill.config import TrainConfig
from distill.ensemble import ABOUT, open_ensemble
from distill.model import load_student, make_features, make_student, preprocessing_of
from distill.onnx_file import export_fp32
from edge_retrieval.arrays import Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.encoder import INPUT, OUTPUT, load_encoder
from edge_retrieval.errors import ConfigError

Rows = NDArray[np.float32]
PREFIXES = (64, 32)
SEEDS = (0, 1, 2)
WHITENED = 256
"""Directions that whitening keeps, as a teacher's does."""
GROUPS = ("plain", "untrained", "imagenet", "teacher", "ours")
"""Kinds of contestants, in the order in which they are told."""
REFERENCE = "MobileNetV2, ImageNet, 224 px"
"""What every other encoder is held against."""


@dataclass(frozen=True)
class Contestant:
    """Something that turns drawings into rows.

    Attributes:
        name: For people; unique.
        group: What kind it is, of `GROUPS`.
        preprocessing: What it must be given.
        embed: ``(N, C, S, S)`` -> ``(N, F)``.
        bytes: Of its file; None: it has none.
        finish: Makes of rows, and of the rows of the training drawings, what is compared; None: the
            rows themselves are.
        prefixes: So many first numbers of its rows are measured as well.
    """

    name: str
    group: str
    preprocessing: Preprocessing
    embed: Callable[[Images], Rows]
    bytes: int | None = None
    finish: Callable[[Rows, Rows], Rows] | None = None
    prefixes: tuple[int, ...] = ()


def pixels(images: Images) -> Rows:
    """Return 28 x 28 grey values of ``(N, 1, 112, 112)``, each drawing's mean removed."""
    blocks = images.reshape(len(images), 28, 4, 28, 4).mean(axis=(2, 4)).reshape(len(images), -1)
    rows: Rows = blocks - blocks.mean(axis=1, keepdims=True)
    return rows


def hog(images: Images) -> Rows:
    """Return histograms of oriented gradients of ``(N, 1, 128, 128)``: ``(N, 1764)``.

    Source:
        Dalal and Triggs, CVPR 2005: 9 orientations, blocks of 2 x 2 cells, L2-Hys. Cells of 16
        pixels and the centring were the best of eight ways on the training and validation patents.
    """
    from skimage.feature import hog as histograms

    return np.stack(
        [histograms(one[0], 9, (16, 16), (2, 2), block_norm="L2-Hys") for one in images]
    ).astype(np.float32)


def centred(rows: Rows, training: Rows) -> Rows:
    """Take the mean of the training drawings away."""
    return rows - training.mean(axis=0)


def whitened(rows: Rows, training: Rows) -> Rows:
    """Centre rows and divide their principal directions by the root of their deviation.

    Mean and directions are those of the training drawings; the formula is that of a bare teacher in
    `distill.teacher`.

    Args:
        rows: ``(N, F)``.
        training: ``(M, F)``.
    """
    mean = training.mean(axis=0)
    spread = training - mean
    covariance = (spread.T @ spread).astype(np.float64) / len(spread)  # (F, F)
    variances, directions = np.linalg.eigh(covariance)
    kept = np.argsort(variances)[::-1][: min(WHITENED, len(training) - 1, len(variances))]
    kept = kept[variances[kept] > 1e-9 * variances[kept[0]]]
    turned = (rows - mean) @ (directions[:, kept] / variances[kept] ** 0.25)
    return turned.astype(np.float32)


def both_ways(embed: Callable[[Images], Rows]) -> Callable[[Images], Rows]:
    """Return what adds the row of a drawing and that of its mirror image."""
    return lambda images: embed(images) + embed(np.ascontiguousarray(images[..., ::-1]))


def plain_ones() -> list[Contestant]:
    """Return what needs no network."""
    return [
        Contestant("pixels, 28 x 28", "plain", Preprocessing(size=112), pixels),
        Contestant(
            "HOG, 128 px", "plain", Preprocessing(size=128, mean=0.0, std=1.0), hog, finish=centred
        ),
    ]


def imagenet_ones(weights: Path, work: Path) -> list[Contestant]:
    """Return bare pooled ImageNet features, each at the input that its weights were trained at.

    Args:
        weights: Folder with the state dicts of three MobileNets.
        work: Folder for the exported networks.
    """
    found = []
    for name, file, backbone, multiplier, size in (
        (REFERENCE, "mobilenetv2_100", "mobilenetv2_100", "", 224),
        ("MobileNetV1 0.75, ImageNet, 192 px", "mobilenetv1_075", "mobilenetv1_100", "0.75", 192),
        ("MobileNetV1 0.5, ImageNet, 160 px", "mobilenetv1_050", "mobilenetv1_100", "0.5", 160),
    ):
        wide = f"channel_multiplier = {multiplier}, " if multiplier else ""
        config = TrainConfig(
            backbone=backbone,
            backbone_args=f'{wide}pad_type = "same"',
            weights=str(weights / f"{file}_imagenet.fp16.pt"),
            size=size,
            channels=3,
        )
        network = _exported(make_features(config), config, work / f"{file}-{size}.onnx")
        size_of = (work / f"{file}-{size}.onnx").stat().st_size
        about = Contestant(name, "imagenet", preprocessing_of(config), network, size_of)
        found.append(about)
        if name == REFERENCE:
            found.append(
                replace(about, name=f"{name}, whitened", embed=both_ways(network), finish=whitened)
            )
    return found


def untrained_ones(bundle: Bundle, work: Path) -> list[Contestant]:
    """Return a bundle's own network with random weights, some seeds."""
    found = []
    for seed in SEEDS:
        trained = dict(bundle.provenance["config"])
        config = TrainConfig(
            **(
                trained
                | {
                    "weights": "none",
                    "teacher": "",
                    "variants": 0,
                    "label_weight": 1.0,
                    "seed": seed,
                }
            )
        )
        name = f"{config.backbone}, untrained, {config.size} px, seed {seed}"
        file = work / f"untrained-{config.backbone}-{config.size}-{config.dim}-{seed}.onnx"
        network = _exported(make_student(config).eval(), config, file)
        about = preprocessing_of(config)
        found.append(Contestant(name, "untrained", about, network, file.stat().st_size))
    return found


def teacher(folder: Path, work: Path) -> Contestant:
    """Return a fitted teacher, a run or a bundle that taught ours.

    Raises:
        ConfigError: It is neither.
    """
    if (folder / "bundle.json").is_file():
        found = of_bundle(folder)
        return replace(found, name=f"teacher: {found.name}", group="teacher", prefixes=())
    if (folder / ABOUT).is_file():
        network, _ = open_ensemble(folder)
        sizes = " + ".join(map(str, network.sizes))
        given = Preprocessing(size=network.size, channels=network.channels)
        return Contestant(
            f"teacher: frozen networks at {sizes} px", "teacher", given, network.embed
        )
    if not (folder / "config.toml").is_file():
        raise ConfigError(f"{folder}: no teacher", hint="name a fitted teacher, or a run")
    student, config = load_student(folder)
    file = work / f"teacher-{folder.name}.onnx"
    file.unlink(missing_ok=True)  # a run may have gone on since
    network = _exported(student, config, file)
    name = f"teacher: {config.backbone}, {config.size} px"
    return Contestant(name, "teacher", preprocessing_of(config), network, file.stat().st_size)


def of_bundle(folder: Path) -> Contestant:
    """Return a bundle as it is used on a device, on the runtime of its format."""
    bundle = Bundle.open(folder)
    encoder = load_encoder(bundle, threads=1)
    return Contestant(
        f"{bundle.name}, {bundle.preprocessing.size} px",
        "ours",
        bundle.preprocessing,
        encoder.embed,
        bundle.model_bytes,
        prefixes=tuple(number for number in PREFIXES if number < bundle.dim),
    )


def _exported(network: Any, config: TrainConfig, file: Path) -> Callable[[Images], Rows]:
    """Export a network unless it is there, and run it on one thread."""
    if not file.is_file():
        import torch

        with torch.inference_mode():
            example = torch.zeros(1, config.channels, config.size, config.size)
            dim = int(network.eval()(example).shape[1])
        partial = file.with_suffix(".part.onnx")
        export_fp32(network, size=config.size, channels=config.channels, dim=dim, path=partial)
        partial.replace(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def embed(images: Images) -> Rows:
        [rows] = session.run([OUTPUT], {INPUT: images})
        return np.asarray(rows, np.float32)

    return embed


def refuse_equal_names(contestants: Sequence[Contestant]) -> None:
    """Refuse two of one name: their figures could not be told apart.

    Raises:
        ConfigError: There are two.
    """
    names = [one.name for one in contestants]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two encoders are named {twice!r}", hint="name each bundle once")
