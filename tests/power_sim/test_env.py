"""The gymnasium environments."""

from __future__ import annotations

import gymnasium  # noqa: TID253
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env  # noqa: TID253

from power_sim import scenario_names
from power_sim.env import ENV_ID, OrbitEnergyEnv


@pytest.mark.parametrize("name", scenario_names())
def test_the_environment_passes_gymnasiums_own_check(name: str) -> None:
    check_env(gymnasium.make(ENV_ID, scenario=name).unwrapped, skip_render_check=True)


def test_an_unseeded_reset_goes_on_to_another_mission_and_a_seeded_one_repeats() -> None:
    env = OrbitEnergyEnv("paper")
    first, _ = env.reset(seed=5)
    other, _ = env.reset()
    again, _ = env.reset(seed=5)
    next_again, _ = env.reset()
    assert np.array_equal(first, again)
    assert np.array_equal(other, next_again)
    assert not np.array_equal(first, other)


def test_idling_is_an_action_only_where_the_scenario_allows_it() -> None:
    assert OrbitEnergyEnv("paper").action_space == gymnasium.spaces.Discrete(3)
    assert OrbitEnergyEnv("cubesat-6u").action_space == gymnasium.spaces.Discrete(4)


def test_the_vector_form_is_registered_and_restarts_in_the_same_step() -> None:
    env = gymnasium.make_vec(ENV_ID, num_envs=4, vectorization_mode="vector_entry_point", scenario="paper")
    observation, info = env.reset(seed=3)
    assert observation.shape == (4, env.single_observation_space.shape[0])
    assert info["action_mask"].shape == (4, 3)
    for slot in range(31):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert truncated.all() == (slot == 29)
        assert not terminated.any()
        assert ("final_obs" in info) == (slot == 29)
        assert reward.shape == (4,)
    assert observation.dtype == np.float32
