"""How CM-CR fills clouds (PDMSR, algorithm 3): the loop, the paste and the noise, in numpy and without the network.

The network is one function; everything random comes from a counter, so that the same seed gives the same pixel
whatever runs the network and however a scene is cut into tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Step = Callable[[Float32Array, float, Float32Array], Float32Array]
"""(n, 3, h, w) noisy, its noise level, (n, 2, h, w) radar, to (n, 3, h, w) clear: one evaluation of the network."""
NoiseOf = Callable[[int], Float32Array]
"""Number of the step, from 0, to (n, 3, h, w) standard normal noise, or (3, h, w), the same for all images."""
STEP_BANDS = ("noisy_red", "noisy_green", "noisy_blue", "vv", "vh", "noise_level")
"""What the graph of one step takes: the noisy image, radar in dB, the noise level at every pixel."""
T_MIN, T_MAX, RHO = 0.002, 80.0, 7.0
MOST_DN = 10_000.0
VV_DB, VH_DB = (-25.0, 0.0), (-32.5, 0.0)
"""What is clipped and scaled to -1..1 (decision D1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What decides the pixels that are made up, beside network and input."""

    steps: int = 13
    """Evaluations of the network."""
    seed: int = 0
    most_cloud_frac: float = 0.8
    """Of a tile: with more cloud than this there is too little left to go by, and nothing is made up."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 200 or not 0.0 < self.most_cloud_frac <= 1.0 or not 0 <= self.seed < 2**32:
            raise ExportError(
                f"Sampling with {self.steps} steps, seed {self.seed} and most_cloud_frac {self.most_cloud_frac} is not "
                "possible. Use 1 to 200 steps, a seed of 32 bits and a share above 0."
            )

    def as_table(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


def step_levels(count: int, low: float = T_MIN, high: float = T_MAX) -> Float64Array:
    """(count,) falling noise levels: Karras' spacing with one more level, the last of which, ``low``, is dropped (D7).

    >>> step_levels(13)[[0, 1, -1]].round(4).tolist()
    [80.0, 51.8803, 0.0108]
    """
    share = np.arange(count) / count
    levels: Float64Array = (high ** (1 / RHO) + share * (low ** (1 / RHO) - high ** (1 / RHO))) ** RHO
    return levels


def scale_optical(dn: NDArray[Any]) -> Float32Array:
    """Reflectance times 10000, clipped, to -1..1."""
    scaled: Float32Array = (np.clip(dn, 0.0, MOST_DN) / (MOST_DN / 2) - 1.0).astype(np.float32)
    return scaled


def unscale_optical(x: NDArray[Any]) -> Float32Array:
    """The way back to reflectance times 10000."""
    dn: Float32Array = (np.asarray(x, dtype=np.float32) + np.float32(1.0)) * np.float32(MOST_DN / 2)
    return dn


def scale_radar(sar_db: NDArray[Any]) -> Float32Array:
    """(..., 2, h, w) VV and VH in dB, clipped, to -1..1."""
    low = np.array([VV_DB[0], VH_DB[0]])[:, None, None]
    high = np.array([VV_DB[1], VH_DB[1]])[:, None, None]
    scaled: NDArray[Any] = 2.0 * (np.clip(sar_db, low, high) - low) / (high - low) - 1.0
    return scaled.astype(np.float32)


def paste(filled: NDArray[Any], cloudy: NDArray[Any], cloud: NDArray[np.bool_]) -> NDArray[Any]:
    """``filled`` where ``cloud``, (n, 1, h, w), and ``cloudy`` bit for bit elsewhere (equation 10; D2)."""
    return np.where(cloud, filled, cloudy)


def fill(
    step: Step, cloudy: Float32Array, cloud: NDArray[np.bool_], sar: Float32Array, noise: NoiseOf, *, steps: int
) -> Float32Array:
    """(n, 3, h, w) in -1..1 with the cloud filled in ``steps`` evaluations (section 2.4 of the card).

    ``cloudy`` in -1..1, ``sar`` as ``step`` takes it. Without any cloud the network is not asked and ``cloudy`` comes
    back.
    """
    if not cloud.any():
        return cloudy
    clear = np.zeros_like(cloudy)
    for number, level in enumerate(step_levels(steps).tolist()):
        spread = level if number == 0 else float(np.sqrt(level**2 - T_MIN**2))
        made = np.clip(step(clear + np.float32(spread) * noise(number), level, sar), -1.0, 1.0)
        clear = paste(made, cloudy, cloud).astype(np.float32, copy=False)
    return clear


def noise_at(rows: NDArray[Any], cols: NDArray[Any], *, seed: int, step: int, channels: int = 3) -> Float32Array:
    """Standard normal noise (..., channels, h, w) of the pixels at ``rows`` and ``cols``, (..., h, w) whole numbers.

    A function of seed, step, channel, row and column alone: SplitMix64's finaliser (Steele et al., OOPSLA 2014) makes
    two uniform numbers, the Box-Muller transform one normal one.
    """
    place = np.asarray(rows).astype(np.uint64) << np.uint64(32) | np.asarray(cols).astype(np.uint64)
    planes = []
    for channel in range(channels):
        key = _mixed(np.array([(seed << 32) | (step << 8) | channel], dtype=np.uint64))[0]
        first = _mixed(place ^ key)
        second = _mixed(first)
        uniform = ((first >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53
        angle = (second >> np.uint64(11)).astype(np.float64) * (2.0 * np.pi * 2.0**-53)
        planes.append(np.sqrt(-2.0 * np.log(uniform)) * np.cos(angle))
    return np.stack(planes, axis=-3).astype(np.float32)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: one step and its finaliser; whole numbers wrap around."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
