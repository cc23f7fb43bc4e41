"""TrainConfig: every choice that changes the weights, in one frozen dataclass. TOML in and out."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge_retrieval.errors import ConfigError

Setting = str | int | float | tuple[float, ...] | tuple[int, ...]


@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is trained. Equal settings on equal data give equal weights on one machine.

    Attributes:
        backbone: A timm model name.
        backbone_args: More arguments of the timm model, as inside a TOML inline table:
            `pad_type = "same", channel_multiplier = 0.5`.
        weights: Where the backbone starts: "none" (random), "timm" (timm's pretrained weights), or
            a file. A .safetensors file holds the backbone's weights, or is a checkpoint of another
            run, which then gives the projection too; a .pt file is a state dict of the timm model.
            Where batch norm was folded away in it, it is estimated anew on the drawings first.
        size: Side of the input, pixels.
        channels: 1 (grey) or 3 (grey three times, to match pretrained weights).
        pool: "avg", "gem" (generalized mean with a learned power), or "levels" (mean and deviation
            of every level's channels, not of the last alone).
        symmetric: Whether the trained network embeds a drawing together with its mirror image, as
            the mean of both: left and right views then meet, at twice the cost. Training is as
            without it.
        dim: Numbers in an embedding.
        loss: One of `distill.objective.LOSSES`.
        mass: Share of the target at each level, coarse to fine (class, subclass, design), of loss
            "hierarchical".
        scores: Score of a pair by its deepest shared level, coarse to fine, of loss
            "hierarchical-scores".
        temperature: Of the similarities, above 0.
        arcface_margin: Radians, of the ArcFace losses.
        arcface_scale: Of the cosines, of the ArcFace losses.
        arcface_share: Of ArcFace in loss "hierarchical+arcface", 0 to 1.
        prefixes: Matryoshka: the loss is the mean over these first numbers of an embedding, each
            prefix made of length 1 again; empty: over the whole embedding alone.
        teacher: What to distil: a bundle, a run folder, a recipe (.toml) that names a backbone and
            its weights, or a timm model name; empty: none. Its own input size is used.
        label_weight: Of the loss above.
        regression_weight: Of 1 - cosine between the student's mapped and the teacher's embedding.
        similarity_weight: Of the KL divergence between the similarities that the teacher and the
            student give the batch.
        teacher_temperature: Of the teacher's similarities.
        variants: Changed drawings that the teacher is asked about beforehand, see
            `distill.variants`; 0: none.
        variant_batch: Of them in a step, beside the drawings themselves.
        cells: Side of the grid of cells that the student learns of each variant, beside its
            embedding, see `distill.cells`; 0: none. `size` is best 32 times a multiple of it.
        cell_weight: Of the mean square error of the mapped cells, the teacher's having variance 1.
        epochs: Passes; in each, every training design is seen at least once.
        steps: Optimizer steps in all; 0: as many as `epochs` give. The schedule ends there.
        classes: Main classes in a batch; then `subclasses` of each, `designs` of each subclass,
            `figures` of each design. Their product is the batch size; a step takes one batch of
            every source.
        subclasses: See `classes`.
        designs: See `classes`.
        figures: See `classes`.
        one_scheme: Whether equal class names of different sources mean the same. If not, pairs
            across sources are neither pulled together nor pushed apart.
        accumulate: Parts that a step's batch is computed in, to fit the memory. The loss still sees
            the whole batch.
        precision: "fp32", "bf16", or "auto": bf16 on a GPU that has it. A processor with AMX trains
            plain convolutions, as of a ResNet, in half the time in bf16; depthwise ones not.
        lr: Highest learning rate of AdamW.
        backbone_lr: Share of `lr` that the backbone gets; less than 1 for pretrained weights.
        weight_decay: Of AdamW; not on biases and normalisation.
        warmup: Share of the steps in which the learning rate rises from 0.
        clip: Largest norm of the gradient.
        ema: Decay a step of the moving average of the weights that is validated and kept; 0: none.
        seed: Of everything: start, split, batches, augmentation.
        held_out: Share of the designs kept for validation, in blocks of consecutive numbers.
        validate_every: Epochs between validations; the last epoch always has one.
        patience: Validations without a better H-AP before the training stops early; 0: never.
        save_every: Steps between saved states within an epoch; 0: only where an epoch ends.
        mirror: Probability of mirroring a figure left to right.
        tilt: Largest tilt, degrees.
        shrink: Largest reduction of scale, share. A figure is never cropped, so never enlarged.
        stretch: Largest change of the aspect, share.
        strokes: Strength of thinning and thickening of lines, 0 to 1.
        contrast: Strength of the change of grey values, 0 to 1.
        erase: Probability of erased patches (missing lines).
        dashes: Probability of broken lines.
        specks: Probability of specks of scan noise.
        binarise: Probability of black and white only, as an office's scanner gives.
        photo: Probability of a photo-like figure: blur, uneven light, noise.
        workers: Processes that prepare batches; 0: a thread of this one.
        threads: Of torch; 0: all cores of this process.
    """

    backbone: str = "mobilenetv3_small_100"
    backbone_args: str = ""
    weights: str = "none"
    size: int = 128
    channels: int = 1
    pool: str = "avg"
    symmetric: bool = False
    dim: int = 128
    loss: str = "hierarchical"
    mass: tuple[float, ...] = (0.1, 0.2, 0.7)
    scores: tuple[float, ...] = (0.25, 0.5, 1.0)
    temperature: float = 0.1
    arcface_margin: float = 0.5
    arcface_scale: float = 30.0
    arcface_share: float = 0.5
    prefixes: tuple[int, ...] = ()
    teacher: str = ""
    label_weight: float = 1.0
    regression_weight: float = 1.0
    similarity_weight: float = 1.0
    teacher_temperature: float = 0.1
    variants: int = 0
    variant_batch: int = 64
    cells: int = 0
    cell_weight: float = 4.0
    epochs: int = 30
    steps: int = 0
    classes: int = 6
    subclasses: int = 2
    designs: int = 4
    figures: int = 2
    one_scheme: bool = False
    accumulate: int = 1
    precision: str = "auto"
    lr: float = 2e-3
    backbone_lr: float = 1.0
    weight_decay: float = 0.02
    warmup: float = 0.05
    clip: float = 5.0
    ema: float = 0.0
    seed: int = 0
    held_out: float = 0.1
    validate_every: int = 1
    patience: int = 0
    save_every: int = 0
    mirror: float = 0.5
    tilt: float = 5.0
    shrink: float = 0.15
    stretch: float = 0.1
    strokes: float = 0.7
    contrast: float = 0.5
    erase: float = 0.3
    dashes: float = 0.1
    specks: float = 0.2
    binarise: float = 0.1
    photo: float = 0.0
    workers: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field.name, getattr(self, field.name)))
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise _no_choice(name, getattr(self, name), choices)
        if not math.isclose(self.size % 8, 0) or self.channels == 2:
            raise ConfigError(
                f"size = {self.size}, channels = {self.channels}",
                hint="size is a multiple of 8; channels is 1 or 3",
            )
        for name in ("mass", "scores"):
            _check_levels(name, getattr(self, name))
        if any(not 2 <= prefix <= self.dim for prefix in self.prefixes):
            raise ConfigError(
                f"prefixes = {self.prefixes}", hint=f"give numbers from 2 to dim, {self.dim}"
            )
        if self.teacher and not (self.regression_weight or self.similarity_weight):
            raise ConfigError(
                "a teacher, but regression_weight = 0 and similarity_weight = 0",
                hint="raise one of them, or leave the teacher out",
            )
        if self.variants and not self.teacher:
            raise ConfigError(
                f"variants = {self.variants}, but no teacher to ask about them",
                hint="name a teacher, or leave variants out",
            )
        if self.cells and not (self.variants and self.pool == "levels" and self.accumulate == 1):
            raise ConfigError(
                f"cells = {self.cells} without variants, with another pool than levels, or with"
                " accumulate above 1",
                hint='set variants and pool = "levels", or leave cells out',
            )
        if not self.teacher and not self.label_weight:
            raise ConfigError(
                "label_weight = 0 and no teacher: nothing to learn from",
                hint="raise label_weight, or name a teacher",
            )

    @property
    def batch_size(self) -> int:
        """Figures in a batch."""
        return self.classes * self.subclasses * self.designs * self.figures

    def with_settings(self, settings: Sequence[str]) -> TrainConfig:
        """Return a copy with "name=value" settings applied, as a command line gives them.

        Raises:
            ConfigError: A setting that is unknown, has no value, or the wrong kind of value.
        """
        changed: dict[str, Any] = {}
        for text in settings:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"setting {text!r} has no value", hint="write name=value")
            changed[name.strip()] = _parse(_known(name.strip()), value.strip())
        return replace(self, **changed)

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read a TOML file of flat settings; what it does not name has its default.

        Raises:
            ConfigError: Not a file, not TOML, an unknown setting, a wrong value.
        """
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ConfigError(
                f"{path}: cannot be read: {reason}", hint="give a TOML file of settings"
            ) from error
        except (ValueError, RecursionError) as error:  # tomllib's own, and numbers without end
            raise ConfigError(
                f"{path}: not TOML: {error}", hint='write lines such as: backbone = "lcnet_050"'
            ) from error
        return cls.of(found)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """Take settings by name; what is not named has its default.

        Raises:
            ConfigError: An unknown setting, a wrong value.
        """
        return cls(**{_known(name): value for name, value in settings.items()})

    def save(self, path: Path) -> None:
        """Write every setting as TOML."""
        lines = [f"{name} = {_toml(value)}\n" for name, value in asdict(self).items()]
        path.write_text("".join(lines), encoding="utf-8")


LOSSES = (
    "hierarchical", "hierarchical-scores", "infonce", "supcon", "supcon-class", "hmlc",
    "multi-similarity", "arcface", "hierarchical+arcface",
)  # fmt: skip
"""What `loss` may be; `distill.objective` says what each is."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "loss": LOSSES,
    "pool": ("avg", "gem", "levels"),
    "precision": ("auto", "fp32", "bf16"),
}

_INF = math.inf
_MANY = 10**9  # of what is only counted
_RANGES: dict[str, tuple[float, float]] = {
    "size": (16, 1024), "channels": (1, 3), "dim": (2, 4096), "temperature": (1e-3, 100),
    "arcface_margin": (0, math.pi / 2), "arcface_scale": (1, 1000), "arcface_share": (0, 1),
    "label_weight": (0, 1000), "regression_weight": (0, 1000), "similarity_weight": (0, 1000),
    "teacher_temperature": (1e-3, 100), "variants": (0, _MANY), "variant_batch": (1, 100_000),
    "cells": (0, 64), "cell_weight": (0, 1000),
    "epochs": (1, _MANY), "steps": (0, _MANY),
    "classes": (1, 100_000), "subclasses": (1, 100_000), "designs": (1, 100_000),
    "figures": (2, 1000),
    "accumulate": (1, _MANY), "lr": (0, 10), "backbone_lr": (0, 1), "weight_decay": (0, 10),
    "warmup": (0, 1), "clip": (1e-6, _INF), "ema": (0, 0.99999), "seed": (0, 2**32 - 1),
    "held_out": (0, 0.9), "validate_every": (1, _MANY), "patience": (0, _MANY),
    "save_every": (0, _MANY), "mirror": (0, 1), "tilt": (0, 30), "shrink": (0, 0.5),
    "stretch": (0, 0.5), "strokes": (0, 1), "contrast": (0, 1), "erase": (0, 1), "dashes": (0, 1),
    "specks": (0, 1), "binarise": (0, 1), "photo": (0, 1), "workers": (0, 256),
    "threads": (0, 1024),
}  # fmt: skip
"""Least and greatest value of each number, both allowed."""


def _kinds() -> dict[str, str]:
    return {field.name: str(field.type) for field in fields(TrainConfig)}


def _known(name: str) -> str:
    names = list(_kinds())
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    hint += f"the settings are {', '.join(names)}"
    raise ConfigError(f"no setting {name!r}", hint=hint)


def _typed(name: str, value: Any) -> Setting:
    kind = _kinds()[name]
    number = _is_number(value)
    if kind == "str" and isinstance(value, str) and (value or name in _MAY_BE_EMPTY):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and number and float(value).is_integer():
        return int(value)
    if kind == "float" and number and math.isfinite(value):
        return float(value)
    if kind.startswith("tuple") and isinstance(value, (list, tuple)):
        numbers = [v for v in value if _is_number(v)]
        if len(numbers) == len(value) and kind == "tuple[float, ...]":
            return tuple(float(v) for v in numbers)
        if len(numbers) == len(value) and all(float(v).is_integer() for v in numbers):
            return tuple(int(v) for v in numbers)
    raise ConfigError(f"{name} = {value!r}", hint=f"{name} is {_WORDS[kind]}")


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return whole or isinstance(value, float)


_MAY_BE_EMPTY = ("backbone_args", "teacher")

_WORDS = {
    "str": "a text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple[float, ...]": "a list of numbers, such as [0.1, 0.2, 0.7]",
    "tuple[int, ...]": "a list of whole numbers, such as [32, 64, 128]",
}


def _no_choice(name: str, value: str, choices: Sequence[str]) -> ConfigError:
    close = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ConfigError(f"{name} = {value!r}", hint=f"{hint}{name} is one of {', '.join(choices)}")


def _check_levels(name: str, values: Sequence[float]) -> None:
    if not values or any(v < 0 or not math.isfinite(v) for v in values):
        raise ConfigError(f"{name} = {values}", hint="give numbers of 0 or more, one a level")
    if values[-1] <= 0:
        raise ConfigError(
            f"{name} = {values}: nothing on the finest level",
            hint="the last number is the design's own share; give it more than 0",
        )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if low <= value <= high:
        return
    limits = f"{low:g} or more" if high == _INF else f"{low:g} to {high:g}"
    raise ConfigError(f"{name} = {value!r}", hint=f"{name} is {limits}")


def _parse(name: str, text: str) -> Setting:
    """Read one value: text as it stands, all else as TOML would; "0.1,0.2,0.7" is a list."""
    kind = _kinds()[name]
    if kind == "str":
        return text.strip("'\"")
    if kind.startswith("tuple") and not text.startswith("["):
        text = f"[{text}]"
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise ConfigError(f"{name} = {text!r}", hint=f"{name} is {_WORDS[kind]}") from None
    return _typed(name, value)


def _toml(value: Setting) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(repr(v) for v in value) + "]"
    return repr(value)
