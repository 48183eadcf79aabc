"""The brown-out ladder and the battery gauge, without any I/O: R17 and R18."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power_sim.dynamics import next_charge_j
from power_sim.ops import SCALAR
from power_sim.scenario import load_scenario
from power_sim.timeline import build_plant
from runtime.daemon.gauge import Gauge
from runtime.daemon.ladder import Rung, climb
from runtime.daemon.sections import LadderSection

LADDER = LadderSection()


def test_r18_a_falling_charge_goes_down_every_step_in_order_and_a_rising_one_up_again() -> None:
    rung, seen = Rung(), ["normal"]
    for percent in [*range(20, -6, -1), *range(-5, 30)]:
        rung = climb(rung, percent / 100, LADDER)
        if rung.name != seen[-1]:
            seen.append(rung.name)
    assert seen == ["normal", "checkpoint", "shed", "safe", "shed", "checkpoint", "normal"]


def test_r18_noise_around_a_threshold_does_not_flap() -> None:
    rng, rung, switches = random.Random(18), Rung(), 0
    for _ in range(1000):
        before, rung = rung, climb(rung, LADDER.shed_frac + rng.uniform(-0.02, 0.02), LADDER)
        switches += rung.step != before.step
    assert switches <= 2


@given(st.lists(st.one_of(st.floats(-0.5, 1.0), st.just(float("nan"))), max_size=60))
@settings(max_examples=200, deadline=None)
def test_r18_no_slot_takes_more_than_one_step(charges: list[float]) -> None:
    rung = Rung()
    for charge in charges:
        before, rung = rung, climb(rung, charge, LADDER)
        assert abs(rung.step - before.step) <= 1


@pytest.mark.parametrize(
    ("kind", "seed"), [(kind, seed) for kind in ("stuck", "noisy", "missing", "jumps") for seed in range(25)]
)
def test_r17_a_battery_sensor_that_lies_is_doubted_and_the_reserve_holds(kind: str, seed: int) -> None:
    """Spends all that the believed charge allows, against a true battery that the sensor lies about."""
    plant = build_plant(load_scenario("cubesat-6u"))
    rng, gauge = random.Random(seed), Gauge(0.03)
    true_j, reckoned_j, flagged_at, stuck = 0.97 * plant.capacity_j, None, None, 0.0
    usable_j = plant.capacity_j - plant.reserve_j
    for slot in range(60):
        true_frac = true_j / plant.capacity_j
        stuck = true_frac if slot < 5 else stuck
        lies = {
            "stuck": stuck,
            "noisy": true_frac * (1 + rng.choice((-0.2, 0.2)) * rng.uniform(0.7, 1.0)),
            "missing": None,
            "jumps": true_frac - 0.35 if slot % 2 else min(true_frac + 0.3, 1.0),
        }
        said = lies[kind] if slot >= 5 else true_frac + rng.gauss(0, 0.005)
        charge = gauge.read(said, None if reckoned_j is None else reckoned_j / plant.capacity_j)
        if charge.doubt and flagged_at is None and slot >= 5:
            flagged_at = slot
        margin_j = 0.03 * usable_j * (2 if charge.doubt else 1)
        load_j = rng.uniform(0.2, 1.0) * 400.0
        harvest_j = 0.0 if slot % 12 < 5 else 900.0
        spare_j = charge.frac * plant.capacity_j - plant.reserve_j - margin_j
        spend_j = max(min(spare_j * plant.discharge_eff_frac + harvest_j - load_j, 2000.0), 0.0)
        true_j, _ = next_charge_j(SCALAR, plant, true_j, harvest_j, load_j, spend_j)
        reckoned_j, _ = next_charge_j(SCALAR, plant, charge.frac * plant.capacity_j, harvest_j, load_j, spend_j)
        if spend_j > 0:
            assert true_j >= plant.reserve_j - 1e-6
    assert flagged_at is not None
    assert flagged_at - 5 <= (2 if kind == "stuck" else 1)


def test_a_healthy_sensor_is_trusted() -> None:
    rng, gauge, frac = random.Random(1), Gauge(0.03), 0.9
    for _ in range(200):
        frac = min(max(frac + rng.uniform(-0.02, 0.02), 0.5), 1.0)
        assert gauge.read(frac + rng.gauss(0, 0.01), frac).doubt == ""
