"""A flown mission: conservation, bounds, monotony, and the agreement of simulator, environments and observation."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from power_sim import (
    IDLE,
    OBSERVATION_LAYOUT,
    Outcome,
    PowerSimError,
    Simulator,
    SlotState,
    Work,
    action_mask,
    admit,
    load_scenario,
    observation_size,
    observe,
    scenario_names,
)
from power_sim.env import OrbitEnergyEnv
from power_sim.observation import feature_names
from power_sim.vector import VectorSimulator

NAMES = scenario_names()
SHORT = {"orbit.window_days": "2"}


def fly(
    name: str, seed: int, overrides: Mapping[str, str] | None = None, orbits: float | None = None
) -> Iterator[tuple[SlotState, Work, Outcome]]:
    """A mission with random choices."""
    simulator = Simulator(load_scenario(name, overrides), seed, orbits)
    rng = np.random.default_rng(seed)
    while simulator.slot < simulator.slots:
        state = simulator.observe()
        k = int(rng.integers(len(state.options) + state.may_idle))
        option = state.options[k] if k < len(state.options) else None
        work = admit(state, option)
        outcome = simulator.advance(work, option)
        yield state, work, outcome
        if outcome.terminated:
            return


@pytest.mark.parametrize("name", NAMES)
def test_energy_and_tiles_are_conserved_and_every_number_stays_in_its_bounds(name: str) -> None:
    for seed in range(2):
        for state, work, outcome in fly(name, seed):
            used = outcome.drawn_j + outcome.spilled_j + outcome.lost_j + outcome.charge_j - state.charge_j
            assert used == pytest.approx(outcome.harvested_j, rel=1e-9, abs=1e-9 * state.capacity_j)
            assert state.waiting_tile == outcome.tile + outcome.shed_tile + outcome.queued_tile
            assert -1e-6 <= outcome.charge_j <= state.capacity_j * (1 + 1e-12)
            assert outcome.energy_j <= max(state.budget_j, 0.0) * (1 + 1e-12)
            assert outcome.temperature_k <= state.temperature_limit_k + 1e-9
            assert min(outcome.spilled_j, outcome.lost_j, outcome.unserved_j, outcome.shed_tile) >= -1e-6
            assert outcome.sent_byte + outcome.backlog_byte >= 0
            assert not outcome.reserve_violated
            assert not outcome.terminated
            numbers = [v for v in (getattr(state, f) for f in state.__slots__) if isinstance(v, float)]
            numbers += [v for v in (getattr(outcome, f) for f in outcome.__slots__) if isinstance(v, float)]
            assert not any(math.isnan(number) for number in numbers)
            assert np.isfinite(observe(state)).all()
            assert work.tile <= state.waiting_tile


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    battery_wh=st.floats(1.0, 500.0),
    panel=st.floats(0.05, 1.0),
    bus_w=st.floats(0.0, 40.0),
    eff=st.floats(0.5, 1.0),
    reserve=st.floats(0.0, 1.0),
    slot_s=st.sampled_from([60.0, 180.0, 600.0]),
    queue=st.integers(0, 10**6),
    limit_c=st.floats(30.0, 120.0),
)
def test_any_valid_mission_conserves_energy_and_yields_no_nan(
    battery_wh: float, panel: float, bus_w: float, eff: float, reserve: float, slot_s: float, queue: int, limit_c: float
) -> None:
    overrides = {
        "power.battery_wh": repr(battery_wh),
        "power.panel_health_frac": repr(panel),
        "power.bus_w": repr(bus_w),
        "power.charge_eff_frac": repr(eff),
        "power.discharge_eff_frac": repr(eff),
        "power.reserve_frac": repr(reserve),
        "power.initial_charge_min_frac": "0.0",
        "orbit.slot_s": repr(slot_s),
        "orbit.window_days": "0.2",
        "workload.queue_max_tile": repr(queue),
        "thermal.limit_c": repr(limit_c),
        "thermal.throttle_c": repr(limit_c - 10),
    }
    for state, _, outcome in fly("cubesat-6u", 1, overrides, orbits=1):
        used = outcome.drawn_j + outcome.spilled_j + outcome.lost_j + outcome.charge_j - state.charge_j
        scale = max(outcome.harvested_j, state.capacity_j, outcome.drawn_j)
        assert abs(used - outcome.harvested_j) <= 1e-9 * scale
        assert 0.0 <= outcome.charge_j <= state.capacity_j * (1 + 1e-12)
        assert state.waiting_tile == outcome.tile + outcome.shed_tile + outcome.queued_tile
        assert not outcome.reserve_violated
        row = observe(state)
        assert np.isfinite(row).all()
        assert np.abs(row).max() <= 2.0 + 1e-6
        assert action_mask(state).any()


def end_charge(overrides: Mapping[str, str]) -> list[float]:
    simulator = Simulator(load_scenario("cubesat-6u", {**SHORT, **overrides}), 4)
    return [simulator.advance(IDLE, None).charge_j for _ in range(simulator.slots)]


def test_more_panel_never_leaves_less_charge_and_more_load_never_more() -> None:
    small, large = end_charge({"power.panel_health_frac": "0.7"}), end_charge({"power.panel_health_frac": "0.9"})
    assert all(a <= b + 1e-6 for a, b in zip(small, large, strict=True))
    light, heavy = end_charge({"power.bus_w": "5"}), end_charge({"power.bus_w": "7"})
    assert all(a >= b - 1e-6 for a, b in zip(light, heavy, strict=True))


def test_an_empty_battery_ends_the_mission_and_says_what_it_could_not_serve() -> None:
    overrides = {**SHORT, "power.panel_health_frac": "0.01", "power.bus_w": "30"}
    last = list(fly("cubesat-6u", 0, overrides))[-1][2]
    assert last.terminated
    assert last.charge_j == 0.0
    assert last.unserved_j > 0
    assert last.reward <= -10


def test_equal_seeds_give_equal_missions_and_others_do_not() -> None:
    one, two = ([o for _, _, o in fly("cubesat-6u", 7, SHORT)] for _ in range(2))
    assert one == two
    assert [o.reward for _, _, o in fly("cubesat-6u", 8, SHORT)] != [o.reward for o in one]


def test_the_promised_gain_of_a_choice_is_what_it_yields() -> None:
    for state, work, outcome in fly("cubesat-6u", 5, SHORT):
        if work.tile:
            chosen = [o for o in state.options if work.energy_j == pytest.approx(work.tile * o.energy_j)]
            gains = [work.tile * o.accuracy_frac * state.value_per_correct / 10_000 for o in chosen]
            assert any(outcome.reward == pytest.approx(gain) for gain in gains)


def test_spending_the_whole_budget_in_every_slot_never_breaks_the_reserve_even_in_the_longest_night() -> None:
    simulator = Simulator(load_scenario("cubesat-6u"), 11)
    for _ in range(simulator.slots):
        state = simulator.observe()
        work = Work(0, max(state.budget_j, 0.0), 0.0, "energy")
        outcome = simulator.advance(work, None)
        assert outcome.charge_j >= state.reserve_j * (1 - 1e-9)
        assert not outcome.reserve_violated


def test_work_beyond_the_budget_is_flagged_as_a_broken_reserve() -> None:
    simulator = Simulator(load_scenario("cubesat-6u", {"power.max_discharge_w": "1000.0"}), 11)
    state = simulator.observe()
    assert simulator.advance(Work(0, state.budget_j + 100.0, 0.0, "none"), None).reserve_violated


def test_impossible_work_and_a_finished_mission_are_refused() -> None:
    simulator = Simulator(load_scenario("paper"), 0)
    state = simulator.observe()
    with pytest.raises(PowerSimError, match="exceeds"):
        simulator.advance(Work(state.waiting_tile + 1, 1.0, 1.0, "none"), state.options[0])
    for _ in range(simulator.slots):
        simulator.advance(IDLE, None)
    with pytest.raises(PowerSimError, match="ended after slot 29"):
        simulator.observe()


def test_the_track_lists_every_slot_and_its_passes_in_order() -> None:
    simulator = Simulator(load_scenario("cubesat-6u"), 2, orbits=5)
    track = simulator.track()
    assert len(track.unix_s) == simulator.slots
    assert np.all(np.diff(track.unix_s) == 180.0)
    assert track.contacts
    for contact in track.contacts:
        assert track.unix_s[0] <= contact.start_unix_s < contact.end_unix_s <= track.unix_s[-1] + 180.0
    assert sum(c.end_unix_s - c.start_unix_s for c in track.contacts) >= track.pass_s.sum() - 60
    assert set(track.cover) <= set(load_scenario("cubesat-6u").workload.covers)


@pytest.mark.parametrize("name", NAMES)
def test_simulator_and_environment_tell_the_same_story(name: str) -> None:
    env = OrbitEnergyEnv(name)
    for seed in (0, 1):
        row, info = env.reset(seed=seed)
        simulator, rng = Simulator(env.scenario, seed), np.random.default_rng(seed)
        over = False
        while not over:
            state = simulator.observe()
            assert np.abs(row - observe(state)).max() <= 2e-6
            assert (info["action_mask"] == action_mask(state)).all()
            action = int(rng.integers(env.action_space.n))
            option = state.options[action] if action < len(state.options) else None
            outcome = simulator.advance(admit(state, option), option)
            row, reward, terminated, truncated, info = env.step(np.int64(action))
            assert reward == pytest.approx(outcome.reward, rel=1e-12)
            assert (terminated, truncated) == (outcome.terminated, outcome.truncated)
            over = terminated or truncated


@pytest.mark.parametrize("name", NAMES)
def test_the_vector_form_gives_the_numbers_of_the_scalar_one(name: str) -> None:
    scenario, copies = load_scenario(name), 5
    vector, env = VectorSimulator(scenario, copies, seed=20, missions=8), OrbitEnergyEnv(scenario)
    slots, rng = vector.bank.slots, np.random.default_rng(3)
    actions = rng.integers(vector.actions, size=(2 * slots, copies))
    row, mask = vector.reset()
    rows, masks, steps = [row], [mask], []
    for choice in actions:
        steps.append(vector.step(choice))
        rows.append(steps[-1].observation)
        masks.append(steps[-1].mask)
    for copy in range(copies):
        for mission in range(2):
            seen, info = env.reset(seed=20 + (copy + copies * mission) % 8)
            for t in range(mission * slots, (mission + 1) * slots):
                assert np.array_equal(seen, rows[t][copy])
                assert np.array_equal(info["action_mask"], masks[t][copy])
                seen, reward, terminated, truncated, info = env.step(actions[t][copy])
                assert steps[t].reward[copy] == pytest.approx(reward, rel=1e-12)
                assert (steps[t].terminated[copy], steps[t].truncated[copy]) == (terminated, truncated)
            final = steps[(mission + 1) * slots - 1].final_observation
            assert final is not None
            assert np.array_equal(seen, final[copy])


def test_the_observation_names_each_of_its_numbers() -> None:
    state = Simulator(load_scenario("cubesat-6u"), 0).observe()
    names = feature_names(len(state.options))
    assert len(names) == len(set(names)) == len(observe(state)) == observation_size(3)
    assert OBSERVATION_LAYOUT
    row = dict(zip(names, observe(state), strict=True))
    assert row["charge_frac"] == pytest.approx(state.charge_j / state.capacity_j)
    assert row["net_1"] == pytest.approx(state.ahead_net_j[0] / (state.capacity_j - state.reserve_j), abs=1e-6)


def test_import_needs_neither_gymnasium_nor_torch() -> None:
    code = (
        "import power_sim, sys; print([m for m in ('gymnasium', 'torch', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_copies_that_fall_out_of_step_still_fly_their_own_missions() -> None:
    overrides = {**SHORT, "power.bus_w": "25", "power.initial_charge_min_frac": "0.2"}
    scenario, copies = load_scenario("cubesat-6u", overrides), 4
    vector, env = VectorSimulator(scenario, copies, seed=9, missions=16), OrbitEnergyEnv(scenario)
    rng = np.random.default_rng(0)
    rows, steps, actions = [vector.reset()[0]], [], rng.integers(vector.actions, size=(160, copies))
    for choice in actions:
        steps.append(vector.step(choice))
        rows.append(steps[-1].observation)
    ends = np.array([step.terminated for step in steps])
    assert ends.any()
    assert not (ends == ends[:, :1]).all()
    for copy in range(copies):
        mission = 0
        seen, _ = env.reset(seed=9 + copy)
        for t in range(len(steps)):
            assert np.array_equal(seen, rows[t][copy])
            seen, reward, terminated, truncated, _ = env.step(actions[t][copy])
            assert reward == pytest.approx(steps[t].reward[copy], rel=1e-12)
            if terminated or truncated:
                mission += 1
                seen, _ = env.reset(seed=9 + (copy + copies * mission) % 16)


def test_each_slot_says_how_hard_and_how_valuable_its_tasks_are() -> None:
    mission = Simulator(load_scenario("cubesat-6u"), 7)
    values, hardness = set(), set()
    while not mission.over:
        state = mission.observe()
        mean = sum(option.accuracy_frac for option in state.options) / len(state.options)
        assert state.difficulty_frac == pytest.approx(1 - mean)
        assert (state.value_per_correct > 0) == (state.waiting_tile > 0)
        values.add(round(state.value_per_correct, 3))
        hardness.add(round(state.difficulty_frac, 4))
        mission.advance(IDLE, None)
    assert len(values) > 10
    assert len(hardness) > 10
