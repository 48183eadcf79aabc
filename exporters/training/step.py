"""One optimiser step, and the average of the weights over the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .schedule import cycled_momentum, lr_frac

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from .course import Course
    from .training import Training


def make_optimiser(course: Course, network: nn.Module, training: Training) -> Optimizer:
    """AdamW, or SGD with Nesterov's momentum, over the course's parameter groups or else two: decayed and not.

    A group's ``lr_scale`` multiplies the learning rate for it.
    """
    import torch

    groups = getattr(course, "parameter_groups", None)
    chosen = decay_groups(network, training.weight_decay) if groups is None else groups(network)
    scaled = [{"lr_scale": 1.0, "weight_decay": training.weight_decay, **group} for group in chosen]
    if training.optimiser == "sgd":
        return torch.optim.SGD(scaled, lr=training.lr, momentum=training.momentum, nesterov=training.momentum > 0)
    return torch.optim.AdamW(scaled, lr=training.lr, betas=(training.momentum, 0.999))


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and normalisation weights are not decayed: shrinking them costs accuracy and regularises nothing."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    free = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def set_rate(optimiser: Optimizer, training: Training, step: int, steps: int) -> float:
    """Set the learning rate, and for ``one-cycle`` the momentum, of a step; the rate without a group's scale."""
    lr = training.lr * lr_frac(training.schedule, step, steps, training.warmup_frac)
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_scale"]
        if training.schedule == "one-cycle":
            momentum = cycled_momentum(step, steps, training.warmup_frac)
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            elif group["momentum"] > 0:
                group["momentum"] = momentum
    return lr


def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move ``averaged`` towards ``network`` by ``1 - decay``; counters are copied."""
    import torch

    with torch.no_grad():
        for kept, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1.0 - decay)
            else:
                kept.copy_(new)
