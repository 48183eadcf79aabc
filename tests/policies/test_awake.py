"""A power mode's own draw, paid once in each slot that runs it: in the bound and in what lookahead plans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policies.lookahead import Lookahead, outlook_of
from policies.programme import expected_mission, least_awake_j, mission_of
from policies.registry import fixed_names, make_policy
from policies.shield import Shield
from policies.worth import worth_of
from power_sim import Scenario, Simulator, load_scenario
from power_sim.timeline import awake_j, timeline_of


def awake_scenario() -> Scenario:
    """cubesat-6u whose dearest network runs in a mode of its own, a watt above the module's lowest draw."""
    base = load_scenario("cubesat-6u", {"orbit.orbits": "1.0"})
    first, *rest = base.pool.models
    modes = {"busy": base.power.idle_compute_w + 1.0, rest[0].mode: base.power.idle_compute_w}
    models = (replace(first, mode="busy"), *rest)
    power = replace(base.power, idle_compute_by_mode_w=modes)
    return replace(base, power=power, pool=replace(base.pool, models=models))


def test_without_modes_nothing_is_added() -> None:
    scenario = load_scenario("cubesat-6u")
    mission, line = mission_of(scenario, 0), timeline_of(scenario)
    assert np.array_equal(mission.energy_j[0], [model.energy_j for model in scenario.pool.models])
    assert not least_awake_j(scenario, line.plant, mission.arrived_tile, mission.time_s).any()


def test_a_tile_bears_its_share_of_what_the_most_tiles_pay_together() -> None:
    scenario = awake_scenario()
    mission, expected = mission_of(scenario, 0), expected_mission(scenario, 0)
    models, plant = scenario.pool.models, timeline_of(scenario).plant
    extra_j = mission.energy_j - [model.energy_j for model in models]
    most = mission.arrived_tile.sum(axis=1) + plant.queue_max_tile
    assert (extra_j[:, 0] * most >= awake_j(scenario)[0] - 1e-9).all()
    assert (extra_j[:, 0] <= awake_j(scenario)[0]).all()
    assert np.abs(extra_j[:, 1:]).max() < 1e-12
    assert (expected.energy_j[:, 0] > models[0].energy_j).all()


def test_no_flight_exceeds_the_bound_and_the_bound_counts_the_mode() -> None:
    pytest.importorskip("highspy", reason="needs the extra 'bound'")
    from policies.bound import upper_bound
    from policies.evaluate import fly

    scenario, free = awake_scenario(), load_scenario("cubesat-6u", {"orbit.orbits": "1.0"})
    for seed in range(4):
        upper = upper_bound(scenario, seed)
        assert upper <= upper_bound(free, seed) + 1e-6
        for spec in ("greedy", "lookahead", "universal", *fixed_names(scenario)):
            policy = make_policy(spec, scenario, seed=seed)
            assert fly(scenario, seed, policy, Shield(worth_of(scenario))).value <= upper * (1 + 1e-9)


def test_lookahead_plans_with_the_modes_draw() -> None:
    scenario = awake_scenario()
    planner, state = Lookahead(outlook_of(scenario), worth_of(scenario)), Simulator(scenario, 1).observe()
    free = replace(state, options=tuple(replace(option, awake_j=0.0) for option in state.options))
    dear = replace(state, options=tuple(replace(option, awake_j=500.0) for option in state.options))
    assert planner.stored(dear).empty < planner.stored(free).empty
