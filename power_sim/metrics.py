"""Accuracy per joule, the rewards and the energy-delay product: each defined here and nowhere else."""

from __future__ import annotations


def aee_per_j(correct_tile: float, inference_j: float) -> float:
    """Return right decisions per joule of inference, 0 where nothing was spent. Unit: 1/J.

    >>> aee_per_j(920, 800.0)
    1.15
    """
    return correct_tile / inference_j if inference_j > 0 else 0.0


def aee_total_per_j(correct_tile: float, inference_j: float, idle_j: float, downlink_j: float) -> float:
    """Return right decisions per joule of inference, idle compute and downlink together. Unit: 1/J.

    >>> aee_total_per_j(920, 800.0, 100.0, 100.0)
    0.92
    """
    return aee_per_j(correct_tile, inference_j + idle_j + downlink_j)


def aee(accuracy_frac: float, energy_j: float) -> float:
    """Return LEO-IISat's accuracy-energy efficiency of one model, equations (12) and (13): accuracy over joules per
    image.

    The paper's example (14):

    >>> round(aee(0.92, 0.8), 2), round(aee(0.88, 0.5), 2)
    (1.15, 1.76)
    """
    return accuracy_frac / energy_j


def paper_reward(
    accuracy_frac: float,
    energy_j: float,
    accuracy_floor_frac: float,
    aee_weight: float = 1.5,
    margin_weight: float = 10.0,
) -> float:
    """Return LEO-IISat's reward, equation (19).

    >>> round(paper_reward(0.9, 0.9, 0.8), 6)
    2.5
    """
    return aee_weight * aee(accuracy_frac, energy_j) + margin_weight * (accuracy_frac - accuracy_floor_frac)


def effective_accuracy_frac(accuracy_frac: float, done_tile: float, waiting_tile: float) -> float:
    """Return the accuracy when every tile beyond the budget counts as wrong (DECISION 7 of the reproduction).

    >>> effective_accuracy_frac(0.9, 50, 100)
    0.45
    """
    return accuracy_frac * done_tile / waiting_tile if waiting_tile > 0 else accuracy_frac


def value_reward(tile: float, accuracy_frac: float, value_per_correct: float, unit_tile: float) -> float:
    """Return the worth of a slot's right answers, in units of ``unit_tile`` right answers of value 1.

    >>> value_reward(20_000, 0.9, 0.5, unit_tile=10_000)
    0.9
    """
    return tile * accuracy_frac * value_per_correct / unit_tile


def edp_per_accuracy_j_ms(energy_j: float, delay_s: float, accuracy_frac: float) -> float:
    """Return energy times delay over accuracy as LEO-IISat prints it (J ms per percent); lower is better.

    >>> round(edp_per_accuracy_j_ms(0.87, 0.0035, 0.924), 5)  # MobileNetV3's best corner
    0.03295
    """
    return energy_j * (delay_s * 1e3) / (accuracy_frac * 100)
