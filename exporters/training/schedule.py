"""The learning rate as a pure function of the step, so that a resumed run needs no state for it."""

from __future__ import annotations

import math

SCHEDULES = ("one-cycle", "cosine", "linear", "constant")
_START_FRAC, _END_FRAC = 1 / 25, 1 / (25 * 1e4)
_HIGH_MOMENTUM, _LOW_MOMENTUM = 0.95, 0.85


def lr_frac(schedule: str, step: int, steps: int, warmup_frac: float) -> float:
    """The share of the peak learning rate in step ``step`` of ``steps``, counted from 0.

    ``one-cycle``: Smith and Topin, "Super-Convergence", 2019, annealed by cosines as torch's OneCycleLR does it.
    ``cosine`` (Loshchilov and Hutter, SGDR, ICLR 2017) and ``linear`` fall to 0 after a linear warm-up; ``constant``
    stays after it.

    >>> [round(lr_frac("linear", step, 5, 0.2), 2) for step in range(5)]
    [0.5, 1.0, 0.75, 0.5, 0.25]
    """
    if schedule == "one-cycle":
        return _cycle(step, steps, warmup_frac, (_START_FRAC, 1.0, _END_FRAC))
    warmup = round(warmup_frac * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    falls = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return falls[schedule]


def cycled_momentum(step: int, steps: int, warmup_frac: float) -> float:
    """The momentum (Adam's beta 1) that runs against the learning rate of ``one-cycle``."""
    return _cycle(step, steps, warmup_frac, (_HIGH_MOMENTUM, _LOW_MOMENTUM, _HIGH_MOMENTUM))


def _cycle(step: int, steps: int, warmup_frac: float, values: tuple[float, float, float]) -> float:
    start, middle, end = values
    turn = max(warmup_frac * steps - 1, 0.0)
    if step <= turn and turn > 0:
        return _cosine(start, middle, step / turn)
    return _cosine(middle, end, min((step - turn) / max(steps - 1 - turn, 1e-9), 1.0))


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))
