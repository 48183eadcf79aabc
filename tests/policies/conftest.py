"""Slot states made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from power_sim.slot import Option, SlotState

POOL = (
    Option("mobilenet_v3", "full", accuracy_frac=0.92, energy_j=1.0, time_s=0.004),
    Option("mobilenet_v2", "full", accuracy_frac=0.85, energy_j=0.8, time_s=0.0045),
    Option("resnet18", "full", accuracy_frac=0.78, energy_j=0.5, time_s=0.007),
)

BASE = SlotState(
    slot=3,
    start_unix_s=1.7e9,
    duration_s=189.0,
    charge_j=60_000.0,
    capacity_j=100_000.0,
    reserve_j=20_000.0,
    harvest_j=500.0,
    load_j=300.0,
    budget_j=1000.0,
    time_budget_s=189.0,
    heat_budget_j=5000.0,
    temperature_k=293.0,
    temperature_limit_k=343.0,
    sunlit_frac=1.0,
    eclipse_in_s=600.0,
    sunrise_in_s=0.0,
    ahead_net_j=(200.0, 200.0, -300.0, -300.0),
    ahead_value=(800.0, 800.0, 2000.0, 100.0),
    arrived_tile=900,
    queued_tile=0,
    value_per_correct=1.0,
    difficulty_frac=0.2,
    cover="land",
    latitude_rad=0.5,
    longitude_rad=0.1,
    pass_in_s=1000.0,
    pass_s=0.0,
    downlink_byte=0,
    backlog_byte=0,
    accuracy_floor_frac=0.0,
    may_idle=True,
    options=POOL,
)


@pytest.fixture
def make_state() -> Callable[..., SlotState]:
    """Return a builder of sunlit slots with three networks and the changes that a test names."""

    def make(**changes: Any) -> SlotState:
        return replace(BASE, **changes)

    return make
