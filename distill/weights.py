"""Weights from files into a network that may differ in size or channels; folded batch norms.

Batch norm can be folded into the convolution before it: what is left has the statistics of the
identity (mean 0, variance 1, scale 1) and the fold in its bias. In eval mode that is the same
function. In train mode it is another one: the batch is normalised to variance 1, which the layers
behind never saw. `unfold_norms` gives such a norm the statistics that it should have had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from distill._timm import timm
from edge_retrieval.errors import ConfigError

Weights = dict[str, Tensor]


def read_weights(file: Path) -> Weights:
    """Read a .safetensors file, or a state dict that torch saved (.pt, .pth); floats as float32.

    Raises:
        ConfigError: No such file, or not that.
    """
    if not file.is_file():
        raise ConfigError(
            f"{file}: no such file", hint='weights is "none", "timm", or a .safetensors or .pt file'
        )
    try:
        if file.suffix in (".pt", ".pth"):
            found = torch.load(file, map_location="cpu", weights_only=True)
        else:
            found = load_file(file)
    except Exception as error:  # of safetensors, of pickle, of zip: they share no base
        raise _cannot_read(file, error) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _cannot_read(file, ValueError("not a state dict: names and tensors"))
    return {k: v.float() if v.is_floating_point() else v for k, v in found.items()}


def fit_backbone(weights: Mapping[str, Tensor], backbone: nn.Module) -> Weights:
    """Return the weights of a backbone as this one needs them.

    The classifier is left out. The first convolution is summed over its colours for one channel
    (a grey drawing then gives what grey RGB gave), or spread over three. Position embeddings are
    resampled to the size of the input. A GeM that the weights do not know keeps its power.
    """
    about: Mapping[str, Any] = getattr(backbone, "pretrained_cfg", {})
    dropped = tuple(f"{name}." for name in _names(about.get("classifier")))
    own = backbone.state_dict()
    found = {k: v for k, v in weights.items() if k in own or not k.startswith(dropped)}
    for name in _names(about.get("first_conv")):
        key = f"{name}.weight"
        if key in found and key in own and found[key].ndim == own[key].ndim == 4:
            found[key] = _to_channels(found[key], own[key].shape[1])
    if "pos_embed" in found and "pos_embed" in own:
        found["pos_embed"] = _to_grid(found["pos_embed"], own["pos_embed"], backbone)
    for key in ("global_pool.p", "head.global_pool.p", "fc_norm.p"):
        if key in own and key not in found:
            found[key] = own[key]
    return found


def fill(module: nn.Module, weights: Mapping[str, Tensor], file: Path, *, name: str) -> None:
    """Load weights that must fit exactly; `name` is the backbone, for the message.

    Raises:
        ConfigError: They do not fit; the first difference is named.
    """
    own = module.state_dict()
    wrong = {key: f"it lacks {key!r}" for key in own if key not in weights}
    wrong |= {key: f"{name} has no {key!r}" for key in weights if key not in own}
    wrong |= {
        key: f"{key!r} is {tuple(weights[key].shape)}, not {tuple(value.shape)}"
        for key, value in own.items()
        if key in weights and weights[key].shape != value.shape
    }
    if wrong:
        only_head = all(key.startswith(("projection.", "norm.")) for key in wrong)
        what = "with another dim" if only_head else f"of another backbone than {name}"
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ConfigError(
            f"{file}: a checkpoint {what}: {next(iter(wrong.values()))}{more}",
            hint="set backbone, backbone_args, pool and dim as it was trained, or train anew",
        )
    module.load_state_dict(dict(weights))


def has_folded_norms(module: nn.Module) -> bool:
    """Tell whether weights were loaded whose batch norms are folded away.

    All batch norms have the statistics of the identity, as in a network that was just made; but
    there the biases are zero too.
    """
    norms = _norms(module)
    return (
        bool(norms)
        and all(_is_identity(norm) for norm in norms)
        and any(bool(norm.bias.any()) for norm in norms)
    )


def unfold_norms(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give folded batch norms the statistics of drawings; in eval mode the function stays.

    For each norm the mean and the variance of its input are measured over all batches, with the
    network in eval mode; they become its running statistics, and scale and bias undo them.

    Args:
        module: A network with `nn.BatchNorm*d`; it stays in the mode that it is in.
        batches: ``(N, C, H, W)`` float32; some hundred drawings, prepared as in training. They are
            moved to the device of the network.
    """
    moments = {norm: _Moments() for norm in _norms(module)}
    hooks = [norm.register_forward_pre_hook(_watch(of)) for norm, of in moments.items()]
    training = module.training
    device = next(module.parameters()).device
    module.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                module(batch.to(device))
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    for norm, of in moments.items():
        if of.count:  # a norm that is never used learns nothing
            _set_statistics(norm, of.mean, of.variance)


class _Moments:
    """Mean and variance of each channel over several batches, merged without cancellation.

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.squares = torch.zeros(())  # sum of squared distances from the mean

    @property
    def variance(self) -> Tensor:
        return self.squares / self.count

    def add(self, values: Tensor) -> None:
        """Take ``(N, C, ...)`` in."""
        count = values.numel() // values.shape[1]
        others = [d for d in range(values.ndim) if d != 1]
        variance, mean = torch.var_mean(values.float(), others, correction=0)  # (C,) each
        variance, mean = variance.double().cpu(), mean.double().cpu()
        total = self.count + count
        apart = mean - self.mean
        self.squares = self.squares + variance * count + apart**2 * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total


def _watch(moments: _Moments) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(inputs[0])

    return hook


def _set_statistics(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Set running statistics, and scale and bias so that the eval-mode function is the same.

    A channel that is (almost) constant on the drawings needs no floor under its variance: `eps` is
    one, in the norm and in the scale alike. Its scale becomes sqrt(variance + eps), so that train
    mode multiplies it by sqrt((variance + eps) / (variance of the batch + eps)), about 1. A higher
    floor would leave eval mode as it is and let train mode blow up its noise.
    """
    with torch.no_grad():
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - scale * norm.running_mean.double()
        mean, variance = mean.to(scale), variance.to(scale)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [
        norm
        for norm in module.modules()
        if isinstance(norm, _BatchNorm) and norm.affine and norm.running_mean is not None
    ]


def _is_identity(norm: _BatchNorm) -> bool:
    assert norm.running_mean is not None and norm.running_var is not None
    ones = torch.ones_like(norm.weight)
    return (
        not norm.running_mean.any()
        and torch.allclose(norm.running_var, ones, atol=1e-4)
        and torch.allclose(norm.weight, ones, atol=1e-4)
    )


def _to_channels(weight: Tensor, channels: int) -> Tensor:
    if channels == 1 and weight.shape[1] == 3:
        return weight.sum(1, keepdim=True)
    if channels == 3 and weight.shape[1] == 1:
        return weight.repeat(1, 3, 1, 1) / 3
    return weight


def _to_grid(found: Tensor, own: Tensor, backbone: nn.Module) -> Tensor:
    """Resample position embeddings ``(1, L, C)`` of a square grid to the grid of this backbone."""
    classless = getattr(backbone, "no_embed_class", False)
    prefix = 0 if classless else int(getattr(backbone, "num_prefix_tokens", 1))
    places = found.shape[1] - prefix if found.ndim == 3 else -1
    if found.shape == own.shape or places < 1 or round(places**0.5) ** 2 != places:
        return found
    grid = list(backbone.patch_embed.grid_size)  # type: ignore[union-attr, arg-type]
    moved: Tensor = timm.layers.resample_abs_pos_embed(
        found, new_size=grid, num_prefix_tokens=prefix
    )
    return moved


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _cannot_read(file: Path, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:200]
    return ConfigError(
        f"{file}: these weights cannot be loaded: {reason}",
        hint="give a .safetensors file, or a .pt file of a state dict",
    )
