"""The energy budget of LEO-IISat (Wang et al., Remote Sens. 2025, 17, 1175), one function per equation.

Equations (1) and (2) are in ``orbit``; accuracy per joule and the reward are in ``metrics``. Two quantities the paper
leaves open
are decided in ``docs/physics.md``: the width of the irradiance curve (0.183) and the battery's charge at the start
(6.35 kWh).
"""

from __future__ import annotations

import math

import numpy as np

PEAK_IRRADIANCE_W_M2 = 1360.0
"""Table 2 of the paper."""


def irradiance_w_m2(
    orbit_frac: float, sunlit_frac: float, sigma_frac: float, peak_w_m2: float = PEAK_IRRADIANCE_W_M2
) -> float:
    """Return equation (3): a bell over the sunlit arc, zero in shadow.

    >>> irradiance_w_m2(0.35, 0.70, 0.183), irradiance_w_m2(0.9, 0.70, 0.183)
    (1360.0, 0.0)
    """
    if not 0.0 <= orbit_frac <= sunlit_frac:
        return 0.0
    return peak_w_m2 * math.exp(-((2 * orbit_frac - sunlit_frac) ** 2) / (8 * sigma_frac**2))


def harvest_j(
    start_frac: float,
    end_frac: float,
    period_s: float,
    *,
    panel_m2: float,
    efficiency_frac: float,
    sunlit_frac: float,
    sigma_frac: float,
    peak_w_m2: float = PEAK_IRRADIANCE_W_M2,
) -> float:
    """Return equation (4), the energy harvested between two orbit fractions, integrated in closed form.

    A wide bell is flat: 0.25 x 100 m2 x 1360 W/m2 x 189 s = 6.426 MJ.

    >>> round(harvest_j(0.3, 0.3 + 1 / 30, 5670.0, panel_m2=100, efficiency_frac=0.25, sunlit_frac=0.7, sigma_frac=1e6))
    6426000
    """
    low, high = max(start_frac, 0.0), min(end_frac, sunlit_frac)
    if high <= low:
        return 0.0
    root = math.sqrt(2.0) * sigma_frac
    spread = math.sqrt(math.pi) / 2 * root
    bell = spread * (math.erf((high - sunlit_frac / 2) / root) - math.erf((low - sunlit_frac / 2) / root))
    return efficiency_frac * panel_m2 * peak_w_m2 * period_s * bell


def charging_share_j(capacity_j: float, initial_charge_j: float, sunlit_frac: float, slots: int) -> float:
    """Return equation (5), what each sunlit slot puts into the battery.

    >>> round(charging_share_j(36e6, 22.86e6, 0.7, 30))  # (10 - 6.35) kWh over 21 slots
    625714
    """
    return (capacity_j - initial_charge_j) / round(sunlit_frac * slots)


def sunlit_budget_j(harvested_j: float, share_j: float) -> float:
    """Return equation (6).

    >>> sunlit_budget_j(6.0e6, 0.6e6)
    5400000.0
    """
    return harvested_j - share_j


def shadow_budget_j(capacity_j: float, minimum_j: float, spent_j: float, slot: int, slots: int) -> float:
    """Return equation (7): what is left above the minimum, shared by the slots left. ``slot`` counts from 1.

    >>> round(shadow_budget_j(36e6, 7.2e6, 0.0, 22, 30))  # 8 kWh over 9 slots
    3200000
    >>> round(shadow_budget_j(36e6, 7.2e6, 4.8e6, 23, 30))
    3000000
    """
    return (capacity_j - minimum_j - spent_j) / (slots - slot + 1)


def arrivals_tile(rng: np.random.Generator, mean_tile: float) -> int:
    """Return equation (8), a Poisson draw.

    >>> arrivals_tile(np.random.default_rng(0), 0.0)
    0
    """
    return int(rng.poisson(mean_tile))
