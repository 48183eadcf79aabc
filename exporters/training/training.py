"""How a course is trained: what does not depend on the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import FitError
from .schedule import SCHEDULES

OPTIMISERS, PRECISIONS, DEVICES = ("adamw", "sgd"), ("fp32", "bf16"), ("cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Settings of the loop; FitError for one that does not fit."""

    epochs: int = 40
    seed: int = 7
    lr: float = 2e-3
    """The peak of the schedule."""
    optimiser: str = "adamw"
    """Or ``sgd``, with Nesterov's momentum."""
    momentum: float = 0.9
    """Adam's first beta. ``one-cycle`` moves it between 0.95 and 0.85 instead."""
    weight_decay: float = 0.05
    """Of weights with more than one axis; biases and normalisation are never decayed."""
    schedule: str = "one-cycle"
    warmup_frac: float = 0.2
    ema_decay: float = 0.995
    """Of the averaged weights, which are those validated and kept; 0 keeps the last step's."""
    precision: str = "fp32"
    """``bf16`` computes most layers in bfloat16: faster on some CPUs, slower on others."""
    clip_norm: float = 5.0
    """Longest gradient of a step; 0 for any length."""
    patience: int = 0
    """Epochs without a better one after which training stops; 0 for never."""
    accumulate: int = 1
    """Batches whose gradients make one step."""
    threads: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        for word, value, known in (
            ("optimiser", self.optimiser, OPTIMISERS),
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
            ("device", self.device, DEVICES),
        ):
            if value not in known:
                raise FitError(f"Training with {word} {value!r} is not possible. Use one of {', '.join(known)}.")
        limits = {
            "epochs": self.epochs >= 1,
            "lr": self.lr > 0,
            "warmup_frac": 0 <= self.warmup_frac < 1,
            "ema_decay": 0 <= self.ema_decay < 1,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": self.weight_decay >= 0,
            "clip_norm": self.clip_norm >= 0,
            "patience": self.patience >= 0,
            "accumulate": self.accumulate >= 1,
            "threads": self.threads >= 1,
        }
        if wrong := [word for word, fits in limits.items() if not fits]:
            raise FitError(f"Training with {wrong[0]} {getattr(self, wrong[0])} is not possible. Choose another value.")


TRAINING_FIELDS = tuple(field.name for field in fields(Training))
MACHINE_FIELDS = ("threads", "device", "patience")
"""What may differ when a run is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What a finished run leaves behind."""

    best: Path
    last: Path
    curve: Path
    epoch: int
    """Of ``best``, counted from 1."""
    metric: str
    validation: Mapping[str, float]
    """Of ``best``."""
    test: Mapping[str, float]

    @property
    def value(self) -> float:
        """The metric on the test data; on the validation data where the test does not know it."""
        return self.test.get(self.metric, self.validation[self.metric])


def same_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two trainings, as dicts, lead to the same weights."""
    return {k: v for k, v in one.items() if k not in MACHINE_FIELDS} == {
        k: v for k, v in other.items() if k not in MACHINE_FIELDS
    }
