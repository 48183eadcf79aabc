"""The world of a flight: a slot's state from facts and forecast, by the simulator's own lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from policies.decision import Decision, Policy
from power_sim.leg import Measured
from power_sim.scenario import Scenario
from power_sim.simulator import Outcome
from power_sim.slot import Option, SlotState, Work

from .forecast import Ahead, Forecaster
from .readings import Facts, Readings, Reckoned


class FlightWorld:
    """Observes and accounts for one slot after the other; ``facts`` may be sensors or a trace."""

    def __init__(
        self,
        scenario: Scenario,
        facts: Facts,
        forecaster: Forecaster | None = None,
        settle: Callable[[int], None] | None = None,
    ) -> None:
        self._scenario = scenario
        self._facts = facts
        self.forecaster = forecaster or Forecaster(scenario)
        self._settle = settle
        self.reckoned = Reckoned()
        self.readings: Readings | None = None
        self.state: SlotState | None = None
        self.ahead: Ahead | None = None

    @property
    def caution(self) -> str:
        """Why the slot that was observed last asks for the cautious policy; empty where it does not."""
        readings, ahead = self.readings, self.ahead
        if readings is not None and readings.caution:
            return readings.caution
        return "" if ahead is None else ahead.reason

    def observe(self) -> SlotState:
        """Read the facts and return the state of the slot that begins."""
        readings = self.readings = self._facts.read(self.reckoned)
        ahead = self.ahead = self.forecaster.ahead(readings.unix_s)
        covers = ahead.leg.covers
        state = ahead.leg.measure(
            ahead.at,
            Measured(
                charge_j=readings.charge_j,
                temperature_k=readings.temperature_k,
                arrived_tile=[readings.arrived_tile.get(cover, 0) for cover in covers],
                queued_tile=[readings.queued_tile.get(cover, 0) for cover in covers],
                backlog_byte=readings.backlog_byte,
                energy_j=readings.energy_j,
                time_s=readings.time_s,
                healthy=readings.healthy,
                margin_j=readings.margin_j,
            ),
        )
        self.state = self._as_read(state, readings)
        return self.state

    def advance(self, work: Work, option: Option | None) -> Outcome:
        """Account for a slot; its end is the reckoning that the next slot's readings are held against."""
        assert self.ahead is not None  # the loop observes first
        assert self.state is not None
        outcome = self.ahead.leg.advance(work, option)
        self.reckoned = Reckoned(outcome.charge_j, outcome.temperature_k)
        if self._settle is not None:
            self._settle(self.state.slot)
        return replace(outcome, slot=self.state.slot)

    def _as_read(self, state: SlotState, readings: Readings) -> SlotState:
        """Return the state with what the craft knows better than the orbit."""
        state = replace(state, slot=readings.slot, start_unix_s=readings.unix_s)
        if readings.latitude_rad is not None and readings.longitude_rad is not None:
            state = replace(state, latitude_rad=readings.latitude_rad, longitude_rad=readings.longitude_rad)
        if readings.contact is not None:
            rate_byte_s = self._scenario.link.rate_bps / 8 * (1 - self._scenario.link.loss_frac)
            pass_s = state.duration_s if readings.contact else 0.0
            state = replace(state, pass_s=pass_s, downlink_byte=int(pass_s * rate_byte_s))
            if readings.contact:
                state = replace(state, pass_in_s=0.0)
        if readings.downlink_max_byte is not None:
            state = replace(state, downlink_byte=min(state.downlink_byte, readings.downlink_max_byte))
        return state


@dataclass(frozen=True)
class Cautious:
    """The mission's policy while the world is as expected, a rule that trusts no forecast while it is not."""

    own: Policy
    fallback: Policy
    caution: Callable[[], str]

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.own.name

    def decide(self, state: SlotState) -> Decision:
        """Return the choice of whichever of the two is in charge."""
        why = self.caution()
        if not why:
            return self.own.decide(state)
        decision = self.fallback.decide(state)
        return replace(decision, reason=f"{decision.reason} (careful: {why})")
