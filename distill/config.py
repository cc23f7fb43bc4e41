"""TrainConfig: every choice that changes the weights, in one frozen dataclass. TOML in and out."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge_retrieval.errors import ConfigError

Setting = str | int | float | tuple[float, ...]


@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is trained. Equal settings on equal data give equal weights on one machine.

    Attributes:
        backbone: A timm model name.
        weights: Where the backbone starts: "none" (random), "timm" (timm's pretrained weights), or
            a .safetensors file: the backbone's, or a checkpoint of another run, which then gives
            the projection too.
        size: Side of the input, pixels.
        channels: 1 (grey) or 3 (grey three times, to match pretrained weights).
        dim: Numbers in an embedding.
        epochs: Passes; in each, every training design is seen at least once.
        steps: Optimizer steps in all; 0: as many as `epochs` give. The schedule ends there.
        classes: Main classes in a batch; then `subclasses` of each, `designs` of each subclass,
            `figures` of each design. Their product is the batch size; a step takes one batch of
            every source.
        subclasses: See `classes`.
        designs: See `classes`.
        figures: See `classes`.
        mass: Share of the target at each level, coarse to fine (class, subclass, design).
        temperature: Of the similarities, above 0.
        lr: Highest learning rate of AdamW.
        weight_decay: Of AdamW; not on biases and normalisation.
        warmup: Share of the steps in which the learning rate rises from 0.
        clip: Largest norm of the gradient.
        seed: Of everything: start, split, batches, augmentation.
        held_out: Share of the designs kept for validation, in blocks of consecutive numbers.
        validate_every: Epochs between validations; the last epoch always has one.
        mirror: Probability of mirroring a figure left to right.
        tilt: Largest tilt, degrees.
        shrink: Largest reduction of scale, share. A figure is never cropped, so never enlarged.
        stretch: Largest change of the aspect, share.
        strokes: Strength of thinning and thickening of lines, 0 to 1.
        contrast: Strength of the change of grey values, 0 to 1.
        erase: Probability of erased patches (missing lines).
        dashes: Probability of broken lines.
        specks: Probability of specks of scan noise.
        threads: Of torch; 0: all cores of this process.
    """

    backbone: str = "mobilenetv3_small_100"
    weights: str = "none"
    size: int = 128
    channels: int = 1
    dim: int = 128
    epochs: int = 30
    steps: int = 0
    classes: int = 6
    subclasses: int = 2
    designs: int = 4
    figures: int = 2
    mass: tuple[float, ...] = (0.1, 0.2, 0.7)
    temperature: float = 0.1
    lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.05
    clip: float = 5.0
    seed: int = 0
    held_out: float = 0.1
    validate_every: int = 1
    mirror: float = 0.5
    tilt: float = 5.0
    shrink: float = 0.15
    stretch: float = 0.1
    strokes: float = 0.7
    contrast: float = 0.5
    erase: float = 0.3
    dashes: float = 0.1
    specks: float = 0.2
    threads: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field.name, getattr(self, field.name)))
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)
        if not math.isclose(self.size % 8, 0) or self.channels == 2:
            raise ConfigError(
                f"size = {self.size}, channels = {self.channels}",
                hint="size is a multiple of 8; channels is 1 or 3",
            )
        if not self.mass or any(m < 0 or not math.isfinite(m) for m in self.mass):
            raise ConfigError(f"mass = {self.mass}", hint="give numbers of 0 or more, one a level")
        if self.mass[-1] <= 0:
            raise ConfigError(
                f"mass = {self.mass}: nothing on the finest level",
                hint="the last number is the design's own share; give it more than 0",
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
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                f"{path}: not TOML: {error}", hint='write lines such as: backbone = "lcnet_050"'
            ) from error
        return cls(**{_known(name): value for name, value in found.items()})

    def save(self, path: Path) -> None:
        """Write every setting as TOML."""
        lines = [f"{name} = {_toml(value)}\n" for name, value in asdict(self).items()]
        path.write_text("".join(lines), encoding="utf-8")


_INF = math.inf
_RANGES: dict[str, tuple[float, float]] = {
    "size": (16, 1024), "channels": (1, 3), "dim": (2, 4096), "epochs": (1, _INF),
    "steps": (0, _INF), "classes": (1, _INF), "subclasses": (1, _INF), "designs": (1, _INF),
    "figures": (2, _INF), "temperature": (1e-3, 100), "lr": (0, 10), "weight_decay": (0, 10),
    "warmup": (0, 1), "clip": (1e-6, _INF), "seed": (0, 2**32 - 1), "held_out": (0, 0.9),
    "validate_every": (1, _INF), "mirror": (0, 1), "tilt": (0, 30), "shrink": (0, 0.5),
    "stretch": (0, 0.5), "strokes": (0, 1), "contrast": (0, 1), "erase": (0, 1), "dashes": (0, 1),
    "specks": (0, 1), "threads": (0, 1024),
}  # fmt: skip
"""Least and greatest value of each number, both allowed."""


def _kinds() -> dict[str, str]:
    return {field.name: str(field.type) for field in fields(TrainConfig)}


def _known(name: str) -> str:
    names = list(_kinds())
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"
    raise ConfigError(f"no setting {name!r}", hint=hint)


def _typed(name: str, value: Any) -> Setting:
    kind = _kinds()[name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "str" and isinstance(value, str) and value:
        return value
    if kind == "int" and number and float(value).is_integer():
        return int(value)
    if kind == "float" and number and math.isfinite(value):
        return float(value)
    if kind.startswith("tuple") and isinstance(value, (list, tuple)):
        numbers = [v for v in value if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(numbers) == len(value):
            return tuple(float(v) for v in numbers)
    raise ConfigError(f"{name} = {value!r}", hint=f"{name} is {_WORDS[kind]}")


_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "tuple[float, ...]": "a list of numbers, such as [0.1, 0.2, 0.7]",
}


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
    if isinstance(value, tuple):
        return "[" + ", ".join(repr(v) for v in value) + "]"
    return repr(value)
