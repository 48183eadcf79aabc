"""Operations as the paper of Hybrid-SegUFormer counts them (specs/10-hybrid-segufomer.md, section 4).

Convolutions, transposed ones on their output, and linear layers by multiply-accumulates; normalisations at 4 an
element, bilinear growth at 11 an element; the products inside attention, by far the most, at nothing.
"""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .sdenet_operations import published_operations as convolutions_and_norms

_BILINEAR = 11


def published_operations(network: nn.Module, image: Tensor) -> int:
    """What the paper would print for ``image``."""
    total = 0

    def seen(module: nn.Module, _given: Any, answer: Tensor) -> None:
        nonlocal total
        total += answer.numel() * (module.in_features if isinstance(module, nn.Linear) else _BILINEAR)

    wanted = [module for module in network.modules() if isinstance(module, (nn.Linear, nn.Upsample))]
    handles = [module.register_forward_hook(seen) for module in wanted]
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return total + convolutions_and_norms(network, image)
