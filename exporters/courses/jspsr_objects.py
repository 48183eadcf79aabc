"""What stands on the ground, made up: buildings and trees over real terrain, for learning to take them off again.

The numbers are those of towns in general (a tenth to a half is built over, houses of two to six storeys), not those of
any test area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..baselines.upsampling import cubic

Float32Array = NDArray[np.float32]


def town(rng: np.random.Generator, shape: tuple[int, int], px_m: float) -> tuple[Float32Array, Float32Array]:
    """Heights above ground in m, and 1 where a building stands, both of ``shape``; open land one time in eight."""
    if rng.uniform() < 0.125:
        return np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    built, roofs_m = _buildings(rng, shape, px_m)
    crowns_m = _trees(rng, shape, px_m)
    return np.where(built > 0, roofs_m, crowns_m).astype(np.float32), built


def _buildings(rng: np.random.Generator, shape: tuple[int, int], px_m: float) -> tuple[Float32Array, Float32Array]:
    built, roofs_m = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    share, longest_m, usual_m = rng.uniform(0.0, 0.5), rng.uniform(20.0, 80.0), rng.uniform(5.0, 15.0)
    for _ in range(400):
        if built.mean() >= share:
            break
        high, wide = (max(1, round(side / px_m)) for side in rng.uniform(8.0, longest_m, 2))
        top, left = int(rng.integers(-high + 1, shape[0])), int(rng.integers(-wide + 1, shape[1]))
        spot = (slice(max(top, 0), top + high), slice(max(left, 0), left + wide))
        built[spot], roofs_m[spot] = 1.0, usual_m * rng.uniform(0.5, 1.8)
    return built, roofs_m


def _trees(rng: np.random.Generator, shape: tuple[int, int], px_m: float) -> Float32Array:
    patch = max(2, round(rng.uniform(10.0, 50.0) / px_m))
    noise = cubic(rng.normal(size=(shape[0] // patch + 2, shape[1] // patch + 2)), patch)[: shape[0], : shape[1]]
    limit = np.quantile(noise, 1.0 - rng.uniform(0.0, 0.5))
    crowns = rng.uniform(4.0, 16.0) * rng.uniform(0.5, 1.2, shape)
    return np.where(noise > limit, crowns, 0.0).astype(np.float32)
