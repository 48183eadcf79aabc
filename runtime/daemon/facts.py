"""Reads the facts of a slot aboard: clock, supply, inbox, networks, ladder and commands, into one record."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from power_sim.dynamics import Plant
from power_sim.scenario import Scenario
from power_sim.timeline import ZERO_C_K, build_plant

from .fleet import Fleet
from .gauge import Charge, Gauge
from .ladder import Rung, climb
from .readings import Readings, Reckoned
from .sections import LadderSection, RadioSection
from .supply import Supply, SupplyReading

log = logging.getLogger(__name__)

JUMP_S = 2.0
"""The system clock jumped where it went this much further or less far than the monotonic one over a slot."""


@dataclass
class Orders:
    """What people have told the daemon; kept until told otherwise."""

    paused: bool = False
    contact: bool | None = None


@dataclass(kw_only=True)
class FlightFacts:
    """The sensors of a flight. One ``read`` per slot."""

    scenario: Scenario
    ladder: LadderSection
    radio: RadioSection
    supply: Supply
    gauge: Gauge
    fleet: Fleet
    collect: Callable[[int], tuple[Mapping[str, int], Mapping[str, int]]]
    backlog_byte: Callable[[], int]
    unix_s: Callable[[], float]
    monotonic_s: Callable[[], float]
    orders: Orders
    policy_doubt: Callable[[], str]
    forecast_doubt: Callable[[], str]
    start_frac: float
    """Charge of the first slot where no sensor says it."""
    thermal: Path | None = None
    next_slot: int = 0
    rung: Rung = field(default_factory=Rung)
    charge: Charge = field(default_factory=lambda: Charge(math.nan))
    reading: SupplyReading = field(default_factory=SupplyReading)
    jumps: int = 0
    jumped_slots: int = 0
    """Slots since the clock jumped, counted down; while above 0 the status says so."""
    _last: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.plant: Plant = build_plant(self.scenario)

    def read(self, reckoned: Reckoned) -> Readings:
        """Return the facts of the slot that begins now."""
        unix_s = self._clock()
        arrived, queued = self.collect(self.next_slot)
        self.reading = self.supply.read()
        self.charge = self._charge(reckoned)
        usable_j = self.plant.capacity_j - self.plant.reserve_j
        spare_j = self.charge.frac * self.plant.capacity_j - self.plant.reserve_j
        self.rung = climb(self.rung, spare_j / usable_j if usable_j > 0 else 1.0, self.ladder)
        doubled = 2.0 if self.charge.doubt or self.forecast_doubt() else 1.0
        energy_j, time_s = self._costs()
        latitude, longitude = self.reading.latitude_deg, self.reading.longitude_deg
        return Readings(
            slot=self.next_slot,
            unix_s=unix_s,
            charge_j=self.charge.frac * self.plant.capacity_j,
            temperature_k=self._temperature_k(reckoned),
            arrived_tile=arrived,
            queued_tile=queued,
            backlog_byte=self.backlog_byte(),
            energy_j=energy_j,
            time_s=time_s,
            healthy=self._healthy(energy_j),
            margin_j=self.ladder.margin_frac * usable_j * doubled,
            caution=self.policy_doubt(),
            contact=self.orders.contact,
            downlink_max_byte=self.radio.safe_byte if self.rung.name == "safe" else None,
            latitude_rad=None if latitude is None or abs(latitude) > 90 else math.radians(latitude),
            longitude_rad=None if longitude is None or abs(longitude) > 180 else math.radians(longitude),
        )

    def _clock(self) -> float:
        """Return UTC, and notice where it did not go as the monotonic clock did."""
        unix_s, now_s = self.unix_s(), self.monotonic_s()
        self.jumped_slots = max(self.jumped_slots - 1, 0)
        if self._last is not None:
            jump_s = (unix_s - self._last[0]) - (now_s - self._last[1])
            if not abs(jump_s) <= JUMP_S:
                self.jumps += 1
                self.jumped_slots = 3
                log.warning("the clock jumped by %.1f s; durations go by the monotonic clock", jump_s)
        self._last = unix_s, now_s
        return unix_s

    def _charge(self, reckoned: Reckoned) -> Charge:
        capacity_j = self.plant.capacity_j
        before = None if reckoned.charge_j is None else reckoned.charge_j / capacity_j
        if self.supply_says_nothing:
            return Charge(self.start_frac if before is None else before)
        return self.gauge.read(self.reading.charge_frac, before)

    @property
    def supply_says_nothing(self) -> bool:
        """Whether the mission has no charge sensor, so that nothing is missing."""
        return self.reading == SupplyReading()

    def _temperature_k(self, reckoned: Reckoned) -> float:
        """Return what a sensor says, else the reckoning, else the scenario's start."""
        for celsius in (self.reading.temperature_c, self._thermal_c()):
            if celsius is not None and -100.0 < celsius < 150.0:
                return celsius + ZERO_C_K
        start_k = self.scenario.thermal.initial_c + ZERO_C_K
        return start_k if reckoned.temperature_k is None else reckoned.temperature_k

    def _thermal_c(self) -> float | None:
        if self.thermal is None:
            return None
        try:
            return int(self.thermal.read_text()) * 1e-3
        except (OSError, ValueError):
            return None

    def _costs(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return joules and seconds per tile of each option: as measured here, else as profiled."""
        energy, seconds = [], []
        for model in self.scenario.pool.models:
            one = self.fleet.networks.get(model.name)
            energy.append(model.energy_j if one is None or one.energy_j is None else one.energy_j)
            seconds.append(model.time_s if one is None or one.tile_s is None else one.tile_s)
        return tuple(energy), tuple(seconds)

    def _healthy(self, energy_j: tuple[float, ...]) -> tuple[bool, ...]:
        """Return which options may run: healthy, not paused, and what the ladder leaves."""
        if self.orders.paused or self.rung.name == "safe":
            return (False,) * len(energy_j)
        networks = [self.fleet.networks.get(model.name) for model in self.scenario.pool.models]
        sound = [one is not None and one.healthy for one in networks]
        if self.rung.name == "shed" and any(sound):
            thrifty = min((k for k, good in enumerate(sound) if good), key=lambda k: energy_j[k])
            return tuple(k == thrifty for k in range(len(sound)))
        return tuple(sound)
