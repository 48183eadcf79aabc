"""What lies ahead, from orbital elements that may be old and a clock that may jump."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from power_sim.elements import PUBLISHED
from power_sim.errors import OrbitError
from power_sim.frames import unix_from_utc
from power_sim.leg import Leg, leg_from
from power_sim.scenario import Scenario
from power_sim.timeline import Timeline, timeline_from

DAY_S = 86_400.0
USABLE_AGES = 10.0
"""Elements serve for the energy forecast up to this many times their greatest age; passes are marked stale before."""
LONGEST_ORBIT_S = 7_700.0
FRESH_SLOTS = 48
"""A leg is left after this many slots, so that its forecasts always reach two orbits ahead."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The leg that a moment falls into, and how good its forecast is: ``fresh``, ``stale`` or ``blind``."""

    leg: Leg
    at: int
    quality: str
    reason: str


class Forecaster:
    """Keeps one leg and starts another where the clock has left it. Equal moments in equal order give equal legs.

    A UAV's leg is its sortie, from the first slot on; whoever flies on after it keeps what another one takes.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        orbit = scenario.orbit
        self._slot_s = orbit.slot_s
        self._fresh = FRESH_SLOTS
        self._slots = FRESH_SLOTS + max(scenario.policy.horizon_slots, math.ceil(2 * LONGEST_ORBIT_S / orbit.slot_s))
        if orbit.kind == "sortie":  # its battery is for the sortie: what comes after need not be idled through
            self._fresh = self._slots = max(round(orbit.orbits * orbit.slots_per_orbit), 1)
        self._max_age_s = orbit.max_tle_age_days * DAY_S
        self._epoch_s = unix_from_utc(orbit.start_utc) if orbit.kind in PUBLISHED else None
        self._leg: Leg | None = None
        self._quality = ("fresh", "")

    def age_days(self, unix_s: float) -> float | None:
        """Return how old the elements are, ``None`` where there are none that age."""
        return None if self._epoch_s is None else (unix_s - self._epoch_s) / DAY_S

    def ahead(self, unix_s: float) -> Ahead:
        """Return what lies ahead of a moment; never raises, however odd the moment or the elements."""
        leg = self._leg
        at = 0 if leg is None else (unix_s - leg.start_unix_s) / self._slot_s
        index = round(at) if math.isfinite(at) else -1
        if leg is None or not 0 <= index < self._fresh or abs(at - index) > 0.25:
            leg, self._quality = self._start(unix_s)
            self._leg, index = leg, 0
        return Ahead(leg, index, *self._quality)

    def begin(self, unix_s: float) -> None:
        """Start a leg at a moment: where a recorded flight had started its own."""
        self._leg, self._quality = self._start(unix_s)

    def _start(self, unix_s: float) -> tuple[Leg, tuple[str, str]]:
        age_s = 0.0 if self._epoch_s is None else abs(unix_s - self._epoch_s)
        try:
            if not math.isfinite(unix_s):
                raise OrbitError(f"the clock says {unix_s}")
            if age_s > USABLE_AGES * self._max_age_s:
                raise OrbitError(f"the orbital elements are {age_s / DAY_S:.0f} days from the clock")
            leg = leg_from(self._scenario, unix_s, self._slots)
        except (OrbitError, ArithmeticError, ValueError) as error:
            return self._blind(unix_s), ("blind", f"no forecast: {error}")
        if age_s > self._max_age_s:
            return leg, ("stale", f"the orbital elements are {age_s / DAY_S:.0f} days old: passes are uncertain")
        return leg, ("fresh", "")

    def _blind(self, unix_s: float) -> Leg:
        """Return a leg without orbit: no sunlight and no pass is promised, half of what can be spared is kept."""
        orbit = replace(self._scenario.orbit, kind="sortie", slots_per_orbit=self._slots)
        scenario = replace(self._scenario, orbit=orbit, link=replace(self._scenario.link, always_on=False))
        start_s = unix_s if math.isfinite(unix_s) else 0.0
        line: Timeline = timeline_from(scenario, start_s, self._slots)
        floor_j = 0.5 * (line.plant.reserve_j + line.plant.capacity_j)
        return Leg(scenario, replace(line, floor_j=np.full(self._slots, floor_j)))
