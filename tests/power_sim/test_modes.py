"""Profiles by batch, precision and power mode, distributions, and loads by mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from power_sim import PowerSimError, Scenario, ScenarioError, Simulator, admit, load_scenario, observe
from power_sim.env import OrbitEnergyEnv
from power_sim.observation import action_mask
from power_sim.scenario import read_scenario
from power_sim.spread import Spread
from power_sim.timeline import timeline_of
from power_sim.vector import VectorSimulator

RANGES = {"accuracy_min_frac": 0.8, "accuracy_max_frac": 0.9}


def entry(batch: int, precision: str, mode: str, energy_j: float, time_s: float, **more: Any) -> dict[str, Any]:
    figures = {"energy_min_j": energy_j, "energy_max_j": 1.5 * energy_j, "time_min_s": time_s, "time_max_s": time_s}
    return {"batch": batch, "precision": precision, "mode": mode, **figures, **more}


NETS = [
    {
        "name": "small",
        **RANGES,
        "profiles": [
            entry(1, "fp16", "15W", 0.008, 0.0006),
            entry(32, "fp16", "15W", 0.004, 0.0003),
            entry(32, "fp16", "30W", 0.005, 0.0002),
            entry(32, "int8", "15W", 0.002, 0.0002, accuracy_min_frac=0.78),
        ],
    },
    {"name": "large", **RANGES, "mode": "15W", **entry(0, "", "15W", 0.02, 0.0015)},
]


def scenario(pool: dict[str, Any], power: dict[str, Any] | None = None, **orbit: Any) -> Scenario:
    table = load_scenario("cubesat-6u").to_table()
    models = pool.pop("models", NETS)
    table["pool"] = {"device": "module", "device_max_w": 40.0, "models": models, **pool}
    table["power"] |= power or {}
    table["orbit"] |= {"window_days": 2.0, **orbit}
    return read_scenario(table, "mine.toml")


def test_the_working_batch_and_precision_choose_and_every_mode_becomes_an_option() -> None:
    chosen = scenario({"batch": 32, "precision": "fp16"})
    options = Simulator(chosen, 0).observe().options
    assert [(o.model, o.mode) for o in options] == [("small", "15W"), ("small", "30W"), ("large", "15W")]
    assert [o.energy_j for o in options] == pytest.approx([0.005, 0.00625, 0.025])
    assert [m.batch for m in chosen.pool.models] == [32, 32, 0]
    quantised = scenario({"batch": 32, "precision": "int8"}).pool.models[0]
    assert (quantised.accuracy_frac, quantised.energy_j) == pytest.approx((0.84, 0.0025))
    assert read_scenario(chosen.to_table(), "again") == chosen


def test_a_pool_file_carries_profiles_too(tmp_path: Any) -> None:
    figures = "energy_min_j = 0.02\nenergy_max_j = 0.02\ntime_min_s = 0.002\ntime_max_s = 0.002\n"
    both = "".join(f"[[models.profiles]]\nbatch = {batch}\n{figures}" for batch in (1, 8))
    (tmp_path / "nets.toml").write_text(
        f'[[models]]\nname = "own"\naccuracy_min_frac = 0.9\naccuracy_max_frac = 0.9\n{both}'
    )
    table = load_scenario("cubesat-6u").to_table()
    table["pool"] = {"file": "nets.toml", "batch": 8}
    assert [m.batch for m in read_scenario(table, "mine.toml", tmp_path).pool.models] == [8]


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({}, ["pool.models[0].profiles of small", "batch 1, 32", "pool.batch"]),
        ({"batch": 8}, ["no batch 8", "one of 1, 32"]),
        ({"batch": 32}, ["precision fp16, int8", "pool.precision"]),
        ({"batch": 32, "precision": "bf16"}, ["no precision bf16", "fp16, int8"]),
        ({"batch": 32, "precision": "fp16", "modes": ["50W"]}, ["pool.modes = ['50W']", "15W, 30W"]),
        ({"batch": -1}, ["pool.batch = -1", "at least 0"]),
        ({"models": [{"name": "a", "profiles": []}]}, ["pool.models[0].profiles = []", "[[pool.models[0].profiles]]"]),
        ({"models": [{"name": "a", "profiles": [3]}]}, ["pool.models[0].profiles[0] = 3", "not a table"]),
        ({"models": [{"name": "a", **RANGES, "profiles": [{"mode": "15W"}]}]}, ["profiles[0].energy_min_j is missing"]),
        ({"models": [{"name": "a", **entry(1, "", "m", 1, 1), **RANGES, "draw": "normal"}]}, ["standard deviation"]),
        ({"models": [{"name": "a", **entry(1, "", "m", 1, 1), **RANGES, "energy_peak_j": 1.2}]}, ["takes neither"]),
        (
            {"models": [{"name": "a", **entry(1, "", "m", 1, 1), **RANGES, "draw": "triangular", "energy_peak_j": 3}]},
            ["energy_*_j has its peak at 3", "1 to 1.5"],
        ),
        ({"models": [{"name": "a", **entry(1, "", "m", 1, 1), **RANGES, "draw": "beta"}]}, ["draw = 'beta'", "normal"]),
    ],
)
def test_a_choice_of_profiles_that_cannot_be_is_refused(pool: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(pool)
    for word in ("mine.toml", *words):
        assert word in str(caught.value)


@given(
    kind=st.sampled_from(("uniform", "normal", "triangular")),
    low=st.floats(0.0, 1.0),
    width=st.floats(0.0, 2.0),
    at=st.floats(0.0, 1.0),
    sd=st.floats(0.01, 3.0),
)
def test_draws_stay_in_their_range_and_their_mean_is_the_promised_one(
    kind: str, low: float, width: float, at: float, sd: float
) -> None:
    spread = Spread(kind, low, low + width, low + at * width, sd * max(width, 1e-3))
    values = spread.at((np.arange(20_000) + 0.5) / 20_000)
    assert values.min() >= spread.low - 1e-12
    assert values.max() <= spread.high + 1e-12
    assert (np.diff(values) >= -1e-12).all()
    assert values.mean() == pytest.approx(spread.mean, abs=1e-3 * (width + 1e-3))


def lopsided(visible: bool) -> Scenario:
    shape = {"energy_peak_j": 0.004, "time_peak_s": 0.0003, "accuracy_peak_frac": 0.9, "draw": "triangular"}
    bell = {"draw": "normal", "accuracy_sd_frac": 0.02, "energy_sd_j": 0.004, "time_sd_s": 1e-4}
    models = [
        {"name": "a", **RANGES, **entry(32, "", "m", 0.004, 0.0003), **shape},
        {"name": "b", **RANGES, **entry(32, "", "m", 0.01, 0.0008), **bell},
    ]
    return scenario({"models": models, "draw": "slot", "visible": visible})


def test_a_slots_draws_follow_the_distribution() -> None:
    mission = Simulator(lopsided(True), 1, orbits=60)
    energies = []
    while not mission.over:
        energies.append([option.energy_j for option in mission.observe().options])
        mission.advance(admit(mission.observe(), None), None)
    drawn = np.array(energies)
    assert 0.004 <= drawn[:, 0].min() <= drawn[:, 0].max() <= 0.006
    assert drawn.mean(axis=0) == pytest.approx([0.014 / 3, 0.0125], rel=0.02)
    assert np.median(drawn[:, 0]) < drawn[:, 0].mean()


def modal() -> Scenario:
    power = {"idle_compute_by_mode_w": {"15W": 2.5, "30W": 4.0}, "payload_w": 3.0, "payload_standby_w": 0.4}
    bus = {"bus_by_mode_w": {"eclipse": 5.0, "contact": 6.5, "safe": 3.0}}
    return scenario({"batch": 32, "precision": "fp16"}, {**power, **bus})


@pytest.mark.parametrize("flown", [modal(), lopsided(True), lopsided(False)], ids=["modes", "seen", "hidden"])
def test_simulator_environment_and_vector_form_agree_on_modes_and_distributions(flown: Scenario) -> None:
    env, vector = OrbitEnergyEnv(flown), VectorSimulator(flown, 2, seed=4)
    rows, masks = vector.reset()
    sims = [Simulator(flown, 4 + copy) for copy in range(2)]
    rng = np.random.default_rng(1)
    for slot in range(sims[0].slots):
        actions = rng.integers(vector.actions, size=2)
        for copy, sim in enumerate(sims):
            state = sim.observe()
            assert np.abs(rows[copy] - observe(state)).max() <= 2e-6
            assert (masks[copy] == action_mask(state)).all()
        step = vector.step(actions)
        rows, masks = step.observation, step.mask
        for copy, sim in enumerate(sims):
            state = sim.observe()
            option = state.options[actions[copy]] if actions[copy] < len(state.options) else None
            work = admit(state, option)
            assert work.energy_j <= max(state.budget_j, 0.0) + 1e-6
            outcome = sim.advance(work, option)
            assert step.reward[copy] == pytest.approx(outcome.reward, rel=1e-9, abs=1e-12)
            assert step.energy_j[copy] == pytest.approx(outcome.energy_j, rel=1e-9, abs=1e-9)
            if copy == 0:
                if slot == 0:
                    env.reset(seed=4)
                assert env.step(actions[0])[1] == pytest.approx(outcome.reward, rel=1e-12)


def test_a_power_mode_draws_its_idle_power_once_per_slot_and_only_where_it_works() -> None:
    mission = Simulator(modal(), 4)
    worked = 0
    while not mission.over:
        state = mission.observe()
        assert [option.awake_j for option in state.options] == [90.0, 360.0, 90.0]  # 0.5 W and 2 W over 180 s
        work = admit(state, state.options[1])
        assert work.energy_j == pytest.approx(work.tile * state.options[1].energy_j + 360.0 * (work.tile > 0))
        outcome = mission.advance(work, state.options[1])
        assert not outcome.reserve_violated
        worked += work.tile > 0
    assert worked > 3


def test_bus_and_payload_draw_by_mode() -> None:
    base, line = timeline_of(scenario({"batch": 32, "precision": "fp16"})), timeline_of(modal())
    track = line.track
    assert track is not None
    imaging_s = track.step_s.sum(axis=1)
    dark, contact = 1 - track.sunlit_frac, track.pass_s / 180.0
    extra_w = -1.0 * dark + 0.5 * contact + (3.0 * imaging_s + 0.4 * (180.0 - imaging_s)) / 180.0
    assert np.abs(line.load_j - base.load_j - extra_w * 180.0).max() < 1e-9
    safe = timeline_of(
        scenario({"batch": 32, "precision": "fp16"}, {"bus_by_mode_w": {"safe": 3.0}, "bus_mode": "safe"})
    )
    assert np.abs(base.load_j - safe.load_j - 3.0 * 180.0).max() < 1e-9  # 6 W nominal


@pytest.mark.parametrize(
    ("power", "words"),
    [
        ({"bus_mode": "sleep"}, ["power.bus_mode = 'sleep'", "nominal"]),
        ({"bus_by_mode_w": {"nominal": 5.0}}, ["power.bus_by_mode_w.nominal", "power.bus_w"]),
        ({"bus_by_mode_w": {"safe": -1.0}}, ["power.bus_by_mode_w.safe = -1.0", "at least 0"]),
        ({"idle_compute_by_mode_w": {"50W": 3.0}}, ["idle_compute_by_mode_w.50W", "15W, 30W"]),
        ({"idle_compute_by_mode_w": {"15W": 1.0}}, ["idle_compute_by_mode_w.15W = 1", "idle_compute_w = 2"]),
        ({"payload_w": float("nan")}, ["power.payload_w = nan"]),
    ],
)
def test_loads_that_cannot_be_are_refused(power: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(PowerSimError) as caught:
        scenario({"batch": 32, "precision": "fp16"}, power)
    for word in ("mine.toml", *words):
        assert word in str(caught.value)


def test_scenarios_that_use_none_of_this_keep_their_tables() -> None:
    table = load_scenario("cubesat-6u").to_table()
    assert not {"bus_by_mode_w", "bus_mode", "payload_w", "idle_compute_by_mode_w"} & table["power"].keys()
    assert not {"batch", "precision", "modes"} & table["pool"].keys()
    assert not {"batch", "precision", "draw", "energy_sd_j"} & table["pool"]["models"][0].keys()
