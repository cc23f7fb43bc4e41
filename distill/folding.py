"""Batch norms into the convolutions before them: what is quantized is then what the device has."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from edge_retrieval.errors import BundleError

MOST_ERROR = 1e-4
"""How much an embedding's number may change by folding."""

Product = nn.Conv2d | nn.Linear


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or matrix product with weights, and what follows it.

    Attributes:
        product: The module; it is called once in a forward pass.
        norm: The batch norm that takes its output, if any.
        rectified: Whether a ReLU takes the output of both.
    """

    product: Product
    norm: nn.Module | None
    rectified: bool


@torch.no_grad()
def find_layers(model: nn.Module, example: Tensor) -> list[Layer]:
    """Run a network in eval mode and return its layers in the order in which they are called.

    Args:
        model: Called with `example` alone.
        example: ``(N, C, H, W)``.
    """
    calls: list[Product] = []
    made: dict[int, tuple[Tensor, int, Product]] = {}  # a tensor kept alive keeps its id to itself
    norm_of: dict[Product, nn.Module] = {}
    rectified: set[Product] = set()

    def after_product(module: Any, _: Any, output: Tensor) -> None:
        calls.append(module)
        made[id(output)] = output, output._version, module

    def maker(given: Any) -> Product | None:
        _, version, product = made.get(id(given[0]), (None, -1, None))
        return product if given[0]._version == version else None  # else something was added to it

    def after_norm(module: Any, given: Any, output: Tensor) -> None:
        if (product := maker(given)) is None or product in norm_of:
            return
        norm_of[product] = module
        if isinstance(getattr(module, "act", None), nn.ReLU | nn.ReLU6):  # timm's norm with its own
            rectified.add(product)
        made[id(output)] = output, output._version, product

    def before_relu(_: Any, given: Any) -> None:
        if (product := maker(given)) is not None:
            rectified.add(product)

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, Product):
                hooks.enter_context(module.register_forward_hook(after_product))
            elif isinstance(module, BatchNorm):
                hooks.enter_context(module.register_forward_hook(after_norm))
            elif isinstance(module, nn.ReLU | nn.ReLU6):
                hooks.enter_context(module.register_forward_pre_hook(before_relu))
        model.eval()(example)
    once = [product for product in calls if calls.count(product) == 1]
    return [Layer(one, norm_of.get(one), one in rectified) for one in once]


@torch.no_grad()
def fold_norms(model: nn.Module, layers: list[Layer], example: Tensor) -> float:
    """Move the scale of each batch norm into its product; only its shift stays, as its bias.

    The modules and the names of the weights stay as they are, so a checkpoint of the network still
    loads; in eval mode it computes the same.

    Args:
        model: Changed in place, and left in eval mode.
        layers: Of it.
        example: ``(N, C, H, W)``, to compare before and after.

    Returns:
        The largest change of an output.

    Raises:
        BundleError: It is more than `MOST_ERROR`: a product has another reader beside its norm.
    """
    before = model.eval()(example)
    for layer in layers:
        if isinstance(layer.norm, BatchNorm) and layer.norm.running_var is not None:
            _fold(layer.product, layer.norm)
    change = float((model(example) - before).abs().max())
    if not change <= MOST_ERROR:
        raise BundleError(
            f"folding the batch norms changes the network by {change:.2g}",
            hint="export without --qat",
        )
    return change


def _fold(product: Product, norm: BatchNorm) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = (variance.double() + norm.eps).rsqrt()  # (C,)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shape = (-1, *[1] * (product.weight.ndim - 1))
    product.weight.copy_(product.weight.double() * scale.view(shape))
    shift = -mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    if product.bias is not None:  # folded as well: a device adds one bias
        shift = shift + product.bias.double() * scale
        product.bias.zero_()
    if norm.bias is None:
        mean.copy_(-shift)
    else:
        norm.bias.copy_(shift)
        mean.zero_()
    if norm.weight is not None:
        norm.weight.fill_(1.0)
    variance.fill_(1.0 - norm.eps)
