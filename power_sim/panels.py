"""How much cell area faces the Sun."""

from __future__ import annotations

import numpy as np

from .frames import FloatArray
from .sections import PowerSection


def panel_area_m2(power: PowerSection, r_eci_m: FloatArray, v_eci_m_s: FloatArray, to_sun_m: FloatArray) -> FloatArray:
    """Return the projected cell area (n,) of a nadir-pointing craft: cosine law, no self-shadowing.

    ``one-axis`` turns about the orbit normal, so only the beta angle costs it.
    """
    sun = to_sun_m / np.sqrt(np.sum(to_sun_m**2, axis=-1))[:, None]
    if power.panel_mount == "tracking":
        return np.full(len(r_eci_m), power.panel_m2)
    if power.panel_mount == "none":
        return np.zeros(len(r_eci_m))
    up = r_eci_m / np.sqrt(np.sum(r_eci_m**2, axis=-1))[:, None]
    normal = np.cross(r_eci_m, v_eci_m_s)
    normal /= np.sqrt(np.sum(normal**2, axis=-1))[:, None]
    on_normal, on_up = np.sum(normal * sun, axis=-1), np.sum(up * sun, axis=-1)
    if power.panel_mount == "fixed":
        return np.asarray(power.panel_m2 * np.maximum(on_up, 0.0))
    if power.panel_mount == "one-axis":
        return np.asarray(power.panel_m2 * np.sqrt(np.maximum(1.0 - on_normal**2, 0.0)))
    on_ram = np.sum(np.cross(normal, up) * sun, axis=-1)
    area = np.zeros(len(r_eci_m))
    for axis, plus, minus in ((on_ram, "ram", "wake"), (on_up, "zenith", "nadir"), (on_normal, "north", "south")):
        area += power.faces_m2.get(plus, 0.0) * np.maximum(axis, 0.0)
        area += power.faces_m2.get(minus, 0.0) * np.maximum(-axis, 0.0)
    return area
