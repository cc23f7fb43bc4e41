"""Any network of timm as a backbone: drawings in, one vector of features a drawing out."""

from __future__ import annotations

import difflib
import math
import tomllib
from typing import Any

import torch
from torch import nn

from distill._timm import timm
from distill.config import TrainConfig
from distill.pooling import Levels, set_pooling
from edge_retrieval.errors import ConfigError

Args = dict[str, str | int | float | bool | list[int]]

_SET_ELSEWHERE = {
    "pretrained": "weights", "checkpoint_path": "weights", "pretrained_cfg": "weights",
    "pretrained_cfg_overlay": "weights", "cache_dir": "weights", "in_chans": "channels",
    "img_size": "size", "num_classes": "dim", "features_only": "pool",
}  # fmt: skip
"""Arguments of `timm.create_model` that a setting of ours decides."""

_ANY_WIDTH = {
    "mobilenetv1_100": ("efficientnet", "_gen_mobilenet_v1"),
    "mobilenetv2_100": ("efficientnet", "_gen_mobilenet_v2"),
    "mobilenetv3_small_100": ("mobilenetv3", "_gen_mobilenet_v3"),
    "mobilenetv3_large_100": ("mobilenetv3", "_gen_mobilenet_v3"),
    "mobilenetv4_conv_small": ("mobilenetv3", "_gen_mobilenet_v4"),
    "lcnet_100": ("mobilenetv3", "_gen_lcnet"),
}
"""timm's functions of these names fix `channel_multiplier`; what they call takes any."""


def make_backbone(config: TrainConfig) -> nn.Module:
    """Make a backbone with its pooling: ``(N, channels, size, size)`` -> ``(N, F)``.

    Its weights are random, from torch's global generator, or timm's where `config.weights` is
    "timm". A file of weights is loaded by `distill.weights`, not here.

    Raises:
        ConfigError: timm has no such network, refuses `backbone_args`, cannot give its weights, or
            the network cannot take this size or pooling.
    """
    _check_name(config.backbone)
    args = parse_args(config.backbone_args)
    fixed: dict[str, Any] = {"num_classes": 0, "in_chans": config.channels, **args}
    try:
        if getattr(timm.get_pretrained_cfg(config.backbone), "fixed_input_size", False):
            fixed["img_size"] = config.size
        model = _create(config.backbone, fixed)
    except Exception as error:  # timm's errors share no base
        raise ConfigError(
            f"timm cannot make {config.backbone}"
            + (f" with backbone_args {config.backbone_args}" if args else "")
            + f": {_line(error)}",
            hint="correct backbone_args, or leave them out" if args else "choose another backbone",
        ) from error
    _check_patches(config, model)
    if config.weights == "timm":
        model = _pretrained(config.backbone, fixed)
    if "global_pool" in args and config.pool == "avg":
        return model  # asked for in timm's own words
    if config.pool == "levels":
        return Levels(model, name=config.backbone)
    set_pooling(model, config.pool, name=config.backbone)
    return model


def width_of(backbone: nn.Module, config: TrainConfig) -> int:
    """Return how many features a backbone gives, by asking it: families count in their own ways.

    Raises:
        ConfigError: It cannot take drawings of this size, or gives no vector.
    """
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            found = backbone(torch.zeros(1, config.channels, config.size, config.size))
    except Exception as error:  # whatever a network of timm raises
        raise ConfigError(
            f"{config.backbone} cannot take {config.size} px: {_line(error)}",
            hint="choose another size, such as 224, or another backbone",
        ) from error
    finally:
        backbone.train(training)
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise ConfigError(
            f"{config.backbone} gives no vector of features", hint="choose another backbone"
        )
    return found.shape[1]


def parse_args(text: str) -> Args:
    """Read `backbone_args`: what stands inside a TOML inline table, plain values and lists of ints.

    Raises:
        ConfigError: Not that, or an argument that another setting decides.
    """
    hint = 'write name = value, ..., such as: pad_type = "same", drop_rate = 0.1'
    try:
        found = tomllib.loads(f"args = {{ {text} }}")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"backbone_args = {text!r}: {error}", hint=hint) from None
    if list(found) != ["args"]:
        raise ConfigError(f"backbone_args = {text!r}: more than one table", hint=hint)
    args: Args = found["args"]
    for name, value in args.items():
        if name in _SET_ELSEWHERE:
            raise ConfigError(
                f"backbone_args sets {name}", hint=f"use the setting {_SET_ELSEWHERE[name]}"
            )
        whole = isinstance(value, list) and value and all(type(one) is int for one in value)
        plain = isinstance(value, (str, int, float, bool))
        if not (plain or whole) or (isinstance(value, float) and not math.isfinite(value)):
            raise ConfigError(
                f"backbone_args: {name} = {value!r}",
                hint="give a text, a number, true or false, or a list of whole numbers",
            )
    return args


def _check_name(name: str) -> None:
    if timm.is_model(name):
        return
    known = timm.list_models()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near = near or ["mobilenetv3_small_100", "resnet18", "vit_tiny_patch16_224"]
    raise ConfigError(f"no backbone {name!r} in timm", hint=f"for example {', '.join(near)}")


def _create(name: str, args: dict[str, Any], *, pretrained: bool = False) -> nn.Module:
    model: nn.Module
    if "channel_multiplier" in args and name in _ANY_WIDTH:
        module, function = _ANY_WIDTH[name]
        generate = getattr(getattr(timm.models, module), function)
        model = generate(name, pretrained=pretrained, **args)
    else:
        model = timm.create_model(name, pretrained=pretrained, **args)
    return model


def _pretrained(name: str, args: dict[str, Any]) -> nn.Module:
    try:
        return _create(name, args, pretrained=True)
    except Exception as error:  # of timm, of the hub, of the network: they share no base
        raise ConfigError(
            f"timm's weights of {name} cannot be loaded: {_line(error)}",
            hint='connect to the internet once, or give weights = "FILE" or "none"',
        ) from error


def _check_patches(config: TrainConfig, model: nn.Module) -> None:
    """Refuse a size that is no whole number of patches: the rest would be cut off in silence."""
    embed = getattr(model, "patch_embed", None) or getattr(model, "stem", None)
    patch = getattr(embed, "patch_size", None)
    side = int(patch[0]) if isinstance(patch, (tuple, list)) else int(patch or 1)
    if config.size % side == 0:
        return
    step = math.lcm(side, 8)  # what TrainConfig allows
    below = config.size // step * step
    near = [size for size in (below, below + step) if size >= max(16, side)]
    raise ConfigError(
        f"size = {config.size}: {config.backbone} cuts it into patches of {side} px",
        hint=f"set size = {' or '.join(map(str, near))}",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
