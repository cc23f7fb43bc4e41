"""A network that computes in floats as INT8 will: rounded weights, rounded activations.

Gradients pass the rounding as if it were not there, and stop where a value is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from distill.folding import Layer

SAMPLES = 20_000
"""Values of each tensor of each batch that find its range."""


class Rounded(nn.Module):
    """A weight on the grid of signed integers, symmetric about 0.

    Args:
        per_channel: One scale for each row (output channel), not one for all.
        reduce_range: 7 bits instead of 8.
    """

    def __init__(self, *, per_channel: bool, reduce_range: bool) -> None:
        super().__init__()
        self.per_channel = per_channel
        self.most = 64 if reduce_range else 127

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight as INT8 has it, same shape."""
        sizes = weight.detach().abs()
        if self.per_channel:
            scale = (sizes.flatten(1).amax(1) / self.most).clamp(min=1e-12)  # (rows,)
            zero = torch.zeros_like(scale, dtype=torch.int32)
            rounded: Tensor = torch.fake_quantize_per_channel_affine(
                weight, scale, zero, 0, -self.most, self.most
            )
            return rounded
        step = max(float(sizes.max()) / self.most, 1e-12)
        return torch.fake_quantize_per_tensor_affine(weight, step, 0, -self.most, self.most)


class _Round(torch.autograd.Function):
    """torch.fake_quantize_per_tensor_affine to 0 .. 255, in a quarter of its time."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float, zero: int) -> Tensor:
        """Round and clip."""
        ctx.save_for_backward(values)
        ctx.ends = -(zero + 0.5) * scale, (255.5 - zero) * scale
        return values.mul(1 / scale).round_().clamp_(-zero, 255 - zero).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Let the gradient through where nothing was clipped."""
        [values] = ctx.saved_tensors
        given = torch.ops.aten.hardtanh_backward(gradients[0], values, *ctx.ends)
        return given, None, None


class Activation:
    """A tensor on the grid of unsigned 8-bit integers, one range for all of it.

    Args:
        rectified: A ReLU follows: values below 0 need no place in the range.
    """

    def __init__(self, *, rectified: bool = False) -> None:
        self.rectified = rectified
        self.low, self.high = 0.0, 0.0
        self.seen: list[Tensor] | None = None

    def __call__(self, values: Tensor) -> Tensor:
        """Return the values rounded and clipped, same shape; while it watches, as they are."""
        if self.seen is not None:
            flat = values.detach().flatten()
            self.seen.append(flat[:: max(1, len(flat) // SAMPLES) | 1].float().cpu().clone())
            return values
        scale = max((self.high - self.low) / 255, 1e-12)
        rounded: Tensor = _Round.apply(  # type: ignore[no-untyped-call]
            values, scale, round(-self.low / scale)
        )
        return rounded

    def watch(self) -> None:
        """Let values pass from now on, and look at them."""
        self.seen = []

    def settle(self, percentile: float) -> None:
        """Take the range that holds this share of the values seen, in percent, and 0."""
        assert self.seen, "nothing was seen: the layer is not called any more"
        values = torch.cat(self.seen).numpy()
        cut = (100.0 - percentile) / 2
        low, high = np.percentile(values, [cut, 100.0 - cut])
        self.low = 0.0 if self.rectified else min(float(low), 0.0)
        self.high = max(float(high), 0.0)
        self.seen = None


class FakeQuantized:
    """A network under fake quantization, until `remove`.

    Args:
        model: Changed in place; in eval mode.
        layers: Those to quantize: input, weight and output of each.
        per_channel: See `Rounded`.
        reduce_range: See `Rounded`.
        products: Quantize attention as well: both sides of both of its products.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        *,
        per_channel: bool,
        reduce_range: bool,
        products: bool,
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self.activations: list[Activation] = []
        self._hooks = ExitStack()
        self._attention = _Attention(self._new) if products else None
        for layer in layers:
            rounded = Rounded(per_channel=per_channel, reduce_range=reduce_range)
            parametrize.register_parametrization(layer.product, "weight", rounded, unsafe=True)
            self._before(layer.product, self._new())
            self._after(layer, self._new(rectified=layer.rectified))

    def __call__(self, images: Tensor) -> Tensor:
        """Run the network: ``(N, C, H, W)`` to ``(N, D)``."""
        if self._attention is None:
            return self.model(images)  # type: ignore[no-any-return]
        with self._attention.again():
            return self.model(images)  # type: ignore[no-any-return]

    @torch.no_grad()
    def calibrate(self, batches: Sequence[Tensor], percentile: float) -> None:
        """Find all ranges anew, on what the network computes with rounded weights.

        Args:
            batches: ``(N, C, H, W)`` each, one or more.
            percentile: Share of the values, in percent, that a range holds.
        """
        for activation in self.activations:
            activation.watch()
        self(batches[0])  # attention is found by its first call
        for batch in batches[1:]:
            self(batch)
        for activation in self.activations:
            activation.settle(percentile)

    def remove(self) -> None:
        """Leave the network with its own weights, not rounded, and nothing else of this."""
        self._hooks.close()
        for layer in self.layers:
            parametrize.remove_parametrizations(layer.product, "weight", leave_parametrized=False)

    def _new(self, *, rectified: bool = False) -> Activation:
        activation = Activation(rectified=rectified)
        self.activations.append(activation)
        return activation

    def _before(self, module: nn.Module, activation: Activation) -> None:
        def hook(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return activation(given[0]), *given[1:]

        self._hooks.enter_context(module.register_forward_pre_hook(hook))

    def _after(self, layer: Layer, activation: Activation) -> None:
        end = layer.product if layer.norm is None else layer.norm
        own = getattr(layer.norm, "act", None)  # timm's norms call their own activation inside
        if isinstance(own, nn.Module):
            self._before(own, activation)
            return

        def hook(_: Any, given: Any, output: Tensor) -> Tensor:
            return activation(output)

        self._hooks.enter_context(end.register_forward_hook(hook))


class _Attention(TorchFunctionMode):
    """Scaled dot-product attention with both products quantized; the calls come in one order."""

    def __init__(self, new: Callable[[], Activation]) -> None:
        super().__init__()
        self._new = new
        self._known: list[tuple[Activation, ...]] = []
        self._call = 0

    @contextmanager
    def again(self) -> Iterator[None]:
        """Count the calls from the first again."""
        self._call = 0
        with self:
            yield

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute attention in parts, and all else as it is."""
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        if self._call == len(self._known):
            new = tuple(self._new() for _ in range(5))
            for activation in new:
                activation.watch()
            self._known.append(new)
        activations = self._known[self._call]
        self._call += 1
        return _attention(activations, *args, **(kwargs or {}))


def _attention(
    activations: Sequence[Activation],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute torch's own formula: shapes (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    assert not (dropout_p or is_causal or enable_gqa), "timm's encoders use none of these in eval"
    of_query, of_key, of_scores, of_shares, of_value = activations
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = of_query(query) @ of_key(key).transpose(-2, -1)  # (..., L, S)
    scores = of_scores(scores) * scale
    if attn_mask is not None:
        scores = scores + attn_mask
    return of_shares(scores.softmax(-1)) @ of_value(value)
