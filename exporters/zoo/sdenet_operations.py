"""Operations as the papers of SDENet and SSA-Net count them, beside which the true cost looks smaller.

One convolution: output elements x input channels of a group x kernel area. Transposed convolutions are counted the same
way on their output (four times too much for 2 x 2 with stride 2), normalisations at 4 an element, all else at nothing:
attention's products, activations, biases.
"""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.LayerNorm, nn.BatchNorm2d)


def published_operations(network: nn.Module, *inputs: Tensor) -> int:
    """What the papers would print for ``inputs``, for networks whose convolutions all are modules that are called."""
    return _count(network, inputs, transposed_area=True, norms=True)


def convolution_macs(network: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of the convolutions alone, transposed ones at their true cost."""
    return _count(network, inputs, transposed_area=False, norms=False)


def _count(network: nn.Module, inputs: tuple[Tensor, ...], *, transposed_area: bool, norms: bool) -> int:
    total = 0

    def seen(module: nn.Module, _given: Any, answer: Tensor) -> None:
        nonlocal total
        if isinstance(module, _CONVOLUTIONS):
            area = module.kernel_size[0] * module.kernel_size[1]
            if isinstance(module, nn.ConvTranspose2d) and not transposed_area:
                area //= module.stride[0] * module.stride[1]
            total += answer.numel() * module.in_channels // module.groups * area
        elif norms:
            total += 4 * answer.numel()

    wanted = [module for module in network.modules() if isinstance(module, (*_CONVOLUTIONS, *_NORMS))]
    handles = [module.register_forward_hook(seen) for module in wanted]
    try:
        with torch.inference_mode():
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return total
