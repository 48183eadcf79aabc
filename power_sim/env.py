"""The gymnasium environment ``subsolar/OrbitEnergy-v0``, registered on import of this module."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any, cast

import gymnasium  # noqa: TID253
import numpy as np
from numpy.typing import NDArray

from .craft import Craft
from .episode import draw_episode
from .observation import LIVE_SIZE, OPTION_SIZE, STEADY_SIZE, feature_names, observation_size
from .rows import SteadyRows, live_row
from .scenario import Scenario, load_scenario
from .timeline import timeline_of
from .vector import VectorSimulator

ENV_ID = "subsolar/OrbitEnergy-v0"


class OrbitEnergyEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Which network, if any, works in each time slot.

    Action: ``Discrete(K)`` or, where the scenario lets the craft idle, ``Discrete(K + 1)``: option k of the pool, K
    idles.

    Observation: ``Box``, float32, every entry unitless within -2..2, layout ``OBSERVATION_LAYOUT``:

    ====================  =======  ==========================================================================
    block                 numbers  content (``observation.feature_names`` names each)
    ====================  =======  ==========================================================================
    live                  10       charge, spare charge, budget, temperature, heat budget, queue, backlog,
                                   value waiting, energy need, value per joule now against ahead
    option k = 0..K-1     8 each   allowed, accuracy, tiles that fit, their cost against budget and battery,
                                   time, right answers and right answers per joule against the best option
    steady                10       harvest, load, sunlight, eclipse, sunrise, contact, next pass, accuracy
                                   floor, may idle, slots ahead
    horizons              2 x 6    harvest less load, and value, over the next 1, 2, 4, 8, 16, 32 slots
    ====================  =======  ==========================================================================

    Reward: as ``[reward]`` of the scenario says: ``value`` is the slot's right answers times their value in units of
    ``unit_tile``;
    ``paper`` is equation (19) of LEO-IISat. An empty battery terminates (less ``brownout_penalty``), the end of the
    mission truncates.

    ``reset(seed=n)`` starts the same mission as ``Simulator(scenario, n)``; without a seed the next mission's seed is
    drawn from
    ``np_random``. ``info["action_mask"]``: bool, one entry per action.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  gymnasium declares it so

    def __init__(self, scenario: Scenario | str | Path = "cubesat-6u", orbits: float | None = None) -> None:
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        self._timeline = timeline_of(self.scenario, orbits)
        self._craft = Craft(self.scenario, self._timeline)
        self._steady_rows = SteadyRows(self.scenario, self._timeline)
        self._options = len(self.scenario.pool.models)
        self._idles = self.scenario.limits.may_idle
        self._floor_frac = self.scenario.limits.accuracy_floor_frac
        self._size = observation_size(self._options)
        self._live = self._size - STEADY_SIZE
        self._pack = struct.Struct(f"{self._live}f").pack_into
        self._masks = _masks(self._options, self._idles)
        self.action_space = gymnasium.spaces.Discrete(self._options + self._idles)
        self.observation_space = gymnasium.spaces.Box(-2.0, 2.0, (observation_size(self._options),), np.float32)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name for each number of the observation."""
        return feature_names(self._options)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start the mission of ``seed``, or of a seed drawn from ``np_random``."""
        super().reset(seed=seed)
        mission = int(self.np_random.integers(2**31)) if seed is None else seed
        episode = draw_episode(self.scenario, self._timeline, mission)
        self._craft.begin(episode)
        steady = self._steady_rows.of(np.array([episode.first]))
        rows = np.empty((episode.slots + 1, self._size), dtype=np.float32)
        rows[:-1, self._live :] = steady.rows[0]
        rows[-1, self._live :] = steady.rows[0, -1]
        self._rows: Any = rows
        ahead = zip(steady.ahead_value[0].tolist(), steady.ahead_net_j[0].tolist(), strict=True)
        self._ahead: list[tuple[float, float]] = [*ahead]
        self._ahead.append(self._ahead[-1])
        return self._observation(), self._info()

    def step(self, action: np.int64 | int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Fly one slot. The last observation of a mission repeats the steady part of its last slot."""
        craft = self._craft
        k = int(action)
        if k < self._options:
            craft.apply_option(k)
        else:
            craft.apply(0.0, 0.0, 0.0)
        truncated = craft.slot >= craft.slots
        return self._observation(), craft.reward, craft.terminated, truncated, self._info()

    def action_mask(self) -> NDArray[np.bool_]:
        """Return which actions make sense now; at least one is open."""
        return np.asarray(self._masks[self._open].copy())

    def _info(self) -> dict[str, Any]:
        craft = self._craft
        return {"action_mask": self._masks[self._open].copy(), "slot": craft.slot, "charge_j": craft.charge_j}

    def _observation(self) -> NDArray[np.float32]:
        craft = self._craft
        craft.prepare()
        slot = craft.slot
        value, net_j = self._ahead[slot]
        live = live_row(craft, value, net_j, self._floor_frac)
        self._open = tuple(live[LIVE_SIZE::OPTION_SIZE])
        self._pack(self._rows, slot * self._size * 4, *live)
        row: NDArray[np.float32] = self._rows[slot]  # each slot has its own memory: nothing is overwritten later
        return row


def _masks(options: int, idles: bool) -> dict[tuple[float, ...], NDArray[np.bool_]]:
    """Return the mask of every combination of options that are allowed (1.0) or not (0.0)."""
    table = {}
    for allowed in itertools.product((0.0, 1.0), repeat=options):
        opened = np.array(allowed) > 0
        table[allowed] = np.append(opened, True) if idles else opened if opened.any() else ~opened
    return table


class OrbitEnergyVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Many craft at once, as numpy arrays; the missions are those of ``vector.VectorSimulator``.

    Observations, actions and rewards as in ``OrbitEnergyEnv``, one row per copy. A copy whose mission ends begins its
    next in the same step; ``info["final_obs"]`` then holds the last observations and ``info["_final_obs"]`` says of
    which copies.
    """

    metadata: dict[str, Any] = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        scenario: Scenario | str | Path = "cubesat-6u",
        orbits: float | None = None,
        missions: int | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        self._missions, self._orbits = missions, orbits
        self._simulator: VectorSimulator | None = None
        options = len(self.scenario.pool.models)
        self.single_action_space = gymnasium.spaces.Discrete(options + self.scenario.limits.may_idle)
        self.single_observation_space = gymnasium.spaces.Box(-2.0, 2.0, (observation_size(options),), np.float32)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start missions ``seed``, ``seed + 1``, ...; without a seed those of before, or 0, 1, ..."""
        first = seed[0] if isinstance(seed, list) else seed
        if self._simulator is None or (first is not None and first != self._simulator.bank.seed):
            self._simulator = VectorSimulator(self.scenario, self.num_envs, first or 0, self._missions, self._orbits)
        observation, mask = self._simulator.reset()
        return observation, {"action_mask": mask}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Fly one slot of every copy."""
        if self._simulator is None:
            self.reset()
        step = cast(VectorSimulator, self._simulator).step(actions)
        info: dict[str, Any] = {"action_mask": step.mask}
        if step.final_observation is not None:
            info |= {"final_obs": step.final_observation, "_final_obs": step.terminated | step.truncated}
        return step.observation, step.reward, step.terminated, step.truncated, info


gymnasium.register(
    id=ENV_ID, entry_point="power_sim.env:OrbitEnergyEnv", vector_entry_point="power_sim.env:OrbitEnergyVectorEnv"
)
