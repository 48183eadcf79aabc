"""Rows and rewards scaled for learning: middle 0, spread 1, and missions that end for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium  # noqa: TID253
import numpy as np
from numpy.typing import NDArray

from power_sim.env import OrbitEnergyEnv

from .learned import action_names


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """Middle and spread of what an environment shows and pays under choices by chance."""

    row_mean: NDArray[np.float32]
    row_spread: NDArray[np.float32]
    reward_mean: float
    reward_spread: float


def measure_scales(env: OrbitEnergyEnv, seed: int, steps: int = 3_000) -> Scales:
    """Fly ``steps`` slots by chance; numbers that never change keep a spread of 1."""
    rng, actions = np.random.default_rng(seed), len(action_names(env.scenario))
    rows, rewards = [env.reset(seed=seed)[0]], list[float]()
    while len(rewards) < steps:
        row, reward, terminated, truncated, _ = env.step(rng.integers(actions))
        rows.append(row)
        rewards.append(reward)
        if terminated or truncated:
            rows.append(env.reset()[0])
    spread = np.std(rows, axis=0)
    spread[spread < 1e-4] = 1.0
    return Scales(
        np.mean(rows, axis=0).astype(np.float32),
        spread.astype(np.float32),
        float(np.mean(rewards)),
        float(np.std(rewards)),
    )


class Standardised(gymnasium.Wrapper[NDArray[np.float32], np.int64, NDArray[np.float32], np.int64]):
    """Rows and rewards of middle 0 and spread 1, and missions that end for good.

    A mission's end is a cut (``truncated``) to the environment. Here it counts as the end: the row says how many slots
    are left and only the mission is graded, so that nothing must be expected after it.
    """

    def __init__(self, env: gymnasium.Env[NDArray[np.float32], np.int64], scales: Scales) -> None:
        super().__init__(env)
        self._scales = scales
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, scales.row_mean.shape, np.float32)

    def reset(self, **how: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a mission."""
        row, info = self.env.reset(**how)
        return self._row(row), info

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Fly a slot."""
        row, reward, terminated, truncated, info = self.env.step(action)
        scaled = (float(reward) - self._scales.reward_mean) / self._scales.reward_spread
        return self._row(row), scaled, terminated or truncated, False, info

    def _row(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        return (row - self._scales.row_mean) / self._scales.row_spread
