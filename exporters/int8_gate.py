"""Whether an INT8 graph may ship: its figures on labelled test data beside those of the float graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from .onnx_cpu import Infer
from .records import Accuracy

Judge = Callable[[Infer], Mapping[str, float]]
"""Figures, by name, of what a package answers to the test data of a course; higher is better."""
ALLOWED = {"ap50": 0.01, "ap50_95": 0.01, "psnr_db": 0.2, "ssim": 0.01}
"""What INT8 may lose, by figure: one point of a share, and of a PSNR 0.2 dB, a hundredth of 20 dB."""


def lost(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Which figures lose more than is allowed, in words; empty where none does."""
    nothing = float("nan")
    found = {key: (before[key], after.get(key, nothing), allowed) for key, allowed in ALLOWED.items() if key in before}
    return "; ".join(
        f"{key} {one:.4g} to {other:.4g}, {allowed:g} is allowed"
        for key, (one, other, allowed) in found.items()
        if not one - other <= allowed + 1e-9
    )


def told(before: Mapping[str, float], after: Mapping[str, float], name: str) -> str:
    """Both sides of every figure that is gated, for the profile's notes."""
    pairs = (f"{key} {before[key]:.4g} then {after[key]:.4g}" for key in ALLOWED if key in before and key in after)
    return f"On the course's test data, float32 then {name}: {', '.join(pairs)}."


def restated(stated: Accuracy, figures: Mapping[str, float]) -> Accuracy:
    """The accuracy that a float graph states, with what another graph was measured to reach."""
    value = figures.get(stated.metric)
    if value is None:
        return stated
    return replace(
        stated, value=value, ci95=(value, value), recall_by_class=dict.fromkeys(stated.recall_by_class, value)
    )
