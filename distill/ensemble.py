"""A teacher of frozen networks: their features side by side, seen along what tells designs apart.

    dim = 256
    shrinkage = 0.7
    [[members]]                 # settings of `TrainConfig`, one table a network
    backbone = "mobilenetv2_100"
    weights = "timm"
    size = 224
    pool = "levels"

Networks that were trained on photographs know drawings well enough to be listened to, and drawings
of designs are too few to train such networks further without their forgetting. So they stay as
they are, and only what is made of their features is learnt: of all directions those are kept in
which figures of one design differ least and figures of different designs most. That is Fisher's
linear discriminant analysis, within-design scatter against total scatter, with the former shrunk
to a multiple of the identity, since a few hundred designs do not fill so many directions.

A fitted ensemble is a folder: `teacher.json` (the members, how it was fitted) and
`teacher.safetensors` (the map). Weights of the members are not copied; their SHA-256 is held.
"""

from __future__ import annotations

import io
import json
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from distill.cells import cell_features
from distill.config import TrainConfig
from distill.data import Drawings, Scheme, load_drawings
from distill.model import Features, make_features
from distill.pooling import Levels
from edge_retrieval.arrays import Images
from edge_retrieval.errors import ConfigError
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import now, sha256_of, versions
from edge_retrieval.split import Split

ABOUT, WEIGHTS = "teacher.json", "teacher.safetensors"
BATCH = 32
FLOOR = 1e-2
"""Least share of a direction's variance that is taken to be between designs."""


@dataclass(frozen=True)
class EnsembleConfig:
    """What an ensemble is made of.

    Attributes:
        members: Frozen networks, each with its own input size.
        dim: Directions kept.
        shrinkage: Share of the identity in the within-design scatter, 0 to 1.
    """

    members: tuple[TrainConfig, ...]
    dim: int = 256
    shrinkage: float = 0.7

    @classmethod
    def load(cls, path: Path, *, weights: Path | None = None) -> EnsembleConfig:
        """Read a TOML file.

        Args:
            path: The file.
            weights: Where the files of weights lie that it names; None: beside it.

        Raises:
            ConfigError: Not that.
        """
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(
                f"{path}: not a recipe of a teacher: {error}", hint="write a table [[members]]"
            ) from error
        tables = found.pop("members", None)
        wrong = sorted(set(found) - {"dim", "shrinkage"})
        if wrong or not isinstance(tables, list) or not tables:
            what = f"no setting {wrong[0]!r}" if wrong else "no members"
            raise ConfigError(f"{path}: {what}", hint="a teacher has [[members]], dim, shrinkage")
        dim, shrinkage = found.get("dim", 256), found.get("shrinkage", 0.7)
        if not (isinstance(dim, int) and dim >= 2 and 0 <= shrinkage <= 1):
            raise ConfigError(
                f"{path}: dim = {dim!r}, shrinkage = {shrinkage!r}",
                hint="dim is 2 or more, shrinkage is 0 to 1",
            )
        members = tuple(_member(table, weights or path.parent) for table in tables)
        return cls(members, dim, float(shrinkage))


def _member(table: dict[str, Any], folder: Path) -> TrainConfig:
    config = TrainConfig.of(table)
    if config.weights in ("none", "timm"):
        return config
    file = folder / config.weights
    if not file.is_file():
        raise ConfigError(f"{file}: no such weights", hint="say where they lie: --weights FOLDER")
    return replace(config, weights=str(file))


class Ensemble:
    """Frozen networks side by side, and a linear map of what they say.

    They run on onnxruntime, drawing by drawing, a drawing a thread: the maps of one drawing fit
    into a processor's cache, those of a batch do not, and the teacher is what takes longest.

    Args:
        config: The members.
        maps: `shift` and `scale` ``(F,)`` and `directions` ``(F, dim)``; None: it is not fitted.

    Raises:
        ConfigError: Weights that do not fit, or members of 1 and of 3 channels.
    """

    def __init__(
        self, config: EnsembleConfig, maps: Mapping[str, NDArray[np.float32]] | None = None
    ) -> None:
        channels = {member.channels for member in config.members}
        if len(channels) > 1:
            raise ConfigError("members of 1 and of 3 channels", hint="give all of them the same")
        self.channels = channels.pop()
        self.sizes = [member.size for member in config.members]
        self.size = max(self.sizes)
        self.maps = maps
        self._members = config.members
        self._sessions = [_session(member) for member in config.members]
        self._cells: tuple[int, list[onnxruntime.InferenceSession]] = (0, [])

    @property
    def tells_cells(self) -> bool:
        """Whether `embed_cells` may be asked: every member pools levels."""
        return all(member.pool == "levels" for member in self._members)

    def features(self, images: Images) -> NDArray[np.float32]:
        """Turn ``(N, C, size, size)`` into ``(N, F)``."""
        [features] = self._run(self._sessions, images)
        return np.concatenate(features)

    def _run(
        self, sessions: Sequence[onnxruntime.InferenceSession], images: Images
    ) -> list[list[NDArray[np.float32]]]:
        """Return, for each output, that of every drawing, all members side by side."""
        shown = [_scaled(images, size) for size in self.sizes]

        def one(row: int) -> list[NDArray[np.float32]]:
            parts = [
                session.run(None, {"images": sizes[row : row + 1]})
                for session, sizes in zip(sessions, shown, strict=True)
            ]
            return [np.concatenate(outputs, -1) for outputs in zip(*parts, strict=True)]

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            rows = list(pool.map(one, range(len(images))))
        return [list(output) for output in zip(*rows, strict=True)]

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Turn ``(N, C, size, size)`` into ``(N, dim)`` rows of length 1."""
        return _unit(self._mapped(self.features(images)))

    def embed_cells(
        self, images: Images, side: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embed drawings and each of their cells, see `distill.cells`.

        Args:
            images: ``(N, C, size, size)``.
            side: Of the grid.

        Returns:
            ``(N, dim)`` rows of length 1, and ``(N, side * side, dim)`` of any length.
        """
        if self._cells[0] != side:
            self._cells = side, [_session(member, side) for member in self._members]
        features, cells = self._run(self._cells[1], images)
        rows = self._mapped(np.concatenate(features))
        return _unit(rows), np.concatenate([self._mapped(one[0])[None] for one in cells])

    def _mapped(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.maps is not None, "an ensemble embeds once it is fitted"
        centred = (features - self.maps["shift"]) / self.maps["scale"]
        return np.asarray(centred @ self.maps["directions"], np.float32)

    def features_of(self, drawings: Drawings, *, track: Track = silent) -> NDArray[np.float32]:
        """Return ``(2N, F)``: of all drawings as they are, then of all mirrored."""
        plain, mirrored = [], []
        starts = range(0, len(drawings), BATCH)
        for start in track(starts, "Features of the teacher", len(starts)):
            images = drawings.images(np.arange(start, min(start + BATCH, len(drawings))))
            plain.append(self.features(images))
            mirrored.append(self.features(np.ascontiguousarray(images[..., ::-1])))
        return np.concatenate([*plain, *mirrored])


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


class _WithCells(nn.Module):
    """A member, and beside its features those of every cell, scaled alike."""

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        shown, levels = images, self.network
        if isinstance(levels, Features):
            shown, levels = levels.scaled(images), levels.backbone
        assert isinstance(levels, Levels), "asked for by `tells_cells`"
        maps = levels.maps(shown)
        cells = cell_features(maps, self.side)  # (1, S, F)
        # The norm written out: the exporter wants shapes for a norm that it does not know here.
        mean, variance = levels.norm.running_mean, levels.norm.running_var
        assert mean is not None and variance is not None
        return levels.pooled(maps), (cells - mean) * torch.rsqrt(variance + levels.norm.eps)


def _session(member: TrainConfig, cells: int = 0) -> onnxruntime.InferenceSession:
    network = make_features(member)
    file = io.BytesIO()
    example = torch.zeros(1, member.channels, member.size, member.size)
    with warnings.catch_warnings():  # the exporter's, about itself
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _WithCells(network, cells).eval() if cells else network,
            (example,),
            file,  # type: ignore[arg-type]  # a file that is open is taken too
            input_names=["images"],
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )


def _scaled(images: Images, size: int) -> Images:
    if images.shape[-1] == size:
        return images
    shown = interpolate(torch.from_numpy(images), (size, size), mode="bilinear", antialias=True)
    scaled: Images = shown.numpy()
    return scaled


def discriminant(
    features: NDArray[np.float32], schemes: Sequence[Scheme], *, dim: int, shrinkage: float
) -> dict[str, NDArray[np.float64]]:
    """Return the map to directions that tell designs apart.

    Features are standardised, turned to their principal directions of variance 1 (`dim` of them at
    most), and there to the axes of the within-design scatter W, which is the mean over the schemes,
    shrunk to (1 - shrinkage) W + shrinkage tr(W) / dim. Each axis gets the weight
    sqrt((1 - w) / w) of its eigenvalue w, the root of the ratio of variance between designs to
    variance within: what a cosine then sums is evidence.

    Args:
        features: ``(N, F)``.
        schemes: Their labels. Only designs with two figures or more tell the scatter.
        dim: Directions kept.
        shrinkage: 0 to 1.

    Returns:
        `shift` and `scale` ``(F,)``, `directions` ``(F, D)``, those that tell designs apart best
        first.

    Raises:
        ConfigError: No design has two figures.

    Source:
        Fisher (1936); shrinkage after Friedman, Regularized Discriminant Analysis (1989).
    """
    used = np.concatenate([scheme.rows for scheme in schemes])
    rows = features[used].astype(np.float64)
    shift, scale = rows.mean(0), rows.std(0) + 1e-4
    standard = (features.astype(np.float64) - shift) / scale  # (N, F)
    own = standard[used]
    variances, axes = np.linalg.eigh(own.T @ own / len(own))
    kept = np.argsort(variances)[::-1][: min(dim, len(own) - 1)]
    kept = kept[variances[kept] > 1e-9 * variances[kept[0]]]
    turn = axes[:, kept] / np.sqrt(variances[kept])  # (F, D)
    scatters = []
    for scheme in schemes:
        part = standard[scheme.rows] @ turn
        _, design, counts = np.unique(scheme.codes[:, -1], return_inverse=True, return_counts=True)
        design = design.reshape(-1)
        means = np.zeros((len(counts), part.shape[1]))
        np.add.at(means, design, part)
        several = counts[design] > 1
        apart = (part - (means / counts[:, None])[design])[several]
        free = int(several.sum() - (counts > 1).sum())
        if free:
            scatters.append(apart.T @ apart / free)
    if not scatters:
        raise ConfigError("no design has two figures", hint="add a source of several views")
    within = np.mean(scatters, 0)
    within = (1 - shrinkage) * within + shrinkage * np.trace(within) / len(kept) * np.eye(len(kept))
    shares, turned = np.linalg.eigh(within)
    weights = np.sqrt(np.maximum(1 - shares, FLOOR) / shares)
    # eigh gives the least share of variance within designs first: the best direction.
    return {"shift": shift, "scale": scale, "directions": turn @ (turned * weights)}


def fit_ensemble(
    recipe: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    weights: Path | None = None,
    split: Split | None = None,
    cache: Path | None = None,
    track: Track = silent,
) -> Path:
    """Fit an ensemble on labelled drawings and keep it; return its folder.

    Args:
        recipe: What `EnsembleConfig.load` reads.
        sources: Drawings whose designs are known; each is a scheme of its own.
        out: A new or empty folder.
        weights: Where the files of weights lie that the recipe names; None: beside it.
        split: Designs of its parts other than "train" are left out.
        cache: Where cut drawings are kept; None: `out`/cache.
        track: Shows progress.

    Raises:
        ConfigError: A wrong recipe, or nothing to learn from.
        SourceError: A source cannot be read at all.
    """
    config = EnsembleConfig.load(recipe, weights=weights)
    network = Ensemble(config)
    own = replace(config.members[0], size=network.size, channels=network.channels)
    drawings = load_drawings(
        sources,
        own,
        cache=cache or out / "cache",
        track=track,
        labelled=False,
        keep=None if split is None else split.trains,
    )
    features = network.features_of(drawings, track=track)
    # Mirrored, a figure is one more view of its design: so the map does not tell left from right.
    schemes = [with_mirrored(scheme, len(drawings)) for scheme in drawings.schemes]
    maps = discriminant(features, schemes, dim=config.dim, shrinkage=config.shrinkage)
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: values.astype(np.float32) for name, values in maps.items()},
        out / WEIGHTS,
    )
    about = {
        "members": [asdict(member) for member in config.members],
        "dim": config.dim,
        "shrinkage": config.shrinkage,
        "weights": [_hash_of(member.weights) for member in config.members],
        "fitted_on": [
            {"source": scheme.name, "figures": len(scheme.rows)} for scheme in drawings.schemes
        ],
        "sha256": sha256_of(out / WEIGHTS),
        "versions": versions(),
        "created": now(),
    }
    (out / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return out


def with_mirrored(scheme: Scheme, count: int) -> Scheme:
    """Give every figure of a scheme its mirror image, which stands `count` rows behind it."""
    codes = np.concatenate([scheme.codes, scheme.codes])
    rows = np.concatenate([scheme.rows, scheme.rows + count])
    return Scheme(scheme.name, scheme.levels, codes, rows)


def open_ensemble(folder: Path) -> tuple[Ensemble, str]:
    """Open what `fit_ensemble` kept; return it and its fingerprint.

    Raises:
        ConfigError: It is damaged, or the weights of a member are others or not there.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        members = tuple(TrainConfig(**member) for member in about["members"])
        hashes, digest = list(about["weights"]), str(about["sha256"])
        config = EnsembleConfig(members, int(about["dim"]), float(about["shrinkage"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder / ABOUT}: not what a fitted teacher says of itself: {error}",
            hint="fit it again: edge-ret teacher",
        ) from error
    if not (folder / WEIGHTS).is_file() or sha256_of(folder / WEIGHTS) != digest:
        raise ConfigError(
            f"{folder / WEIGHTS}: damaged, or not there", hint="fit it again: edge-ret teacher"
        )
    for member, wanted in zip(members, hashes, strict=True):
        if _hash_of(member.weights) != wanted:
            raise ConfigError(
                f"{member.weights}: other weights than the teacher was fitted with",
                hint="fit it again: edge-ret teacher",
            )
    return Ensemble(config, load_file(folder / WEIGHTS)), digest


def _hash_of(weights: str) -> str:
    return sha256_of(Path(weights)) if Path(weights).is_file() else weights
