"""The simulated craft: what a policy sees in each slot, and what its choice does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .craft import Craft
from .dynamics import spilled_and_lost_j
from .episode import draw_episode
from .errors import PowerSimError
from .frames import FloatArray
from .scenario import Scenario
from .slot import IDLE, Option, SlotState, Work
from .timeline import timeline_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a slot came to. Energy is conserved:

    ``harvested_j = drawn_j + spilled_j + lost_j + (charge_j - charge before)``.
    """

    slot: int
    reward: float
    tile: int
    correct_tile: float
    """Expected right answers."""
    accuracy_frac: float
    """As it turned out; differs from what the policy saw where the scenario hides its draws."""
    value: float
    """Expected right answers times their value."""
    energy_j: float
    """Inference above idle."""
    harvested_j: float
    drawn_j: float
    """Inference, bus, idle compute and radio."""
    radio_j: float
    spilled_j: float
    lost_j: float
    """In the battery's charge and discharge."""
    unserved_j: float
    """Load that an empty battery could not carry."""
    charge_j: float
    """At the end of the slot, like everything below."""
    shed_tile: int
    queued_tile: int
    temperature_k: float
    sent_byte: int
    backlog_byte: int
    reserve_violated: bool
    terminated: bool
    """The battery ran empty."""
    truncated: bool
    """The mission is over."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A ground pass of the mission."""

    station: str
    start_unix_s: float
    end_unix_s: float
    peak_rad: float


@dataclass(frozen=True, slots=True, eq=False)
class MissionTrack:
    """The mission's path for reports; arrays (slots,)."""

    unix_s: FloatArray
    latitude_rad: FloatArray
    """At mid-slot."""
    longitude_rad: FloatArray
    sunlit_frac: FloatArray
    harvest_j: FloatArray
    load_j: FloatArray
    arrived_tile: FloatArray
    pass_s: FloatArray
    cover: NDArray[np.str_]
    contacts: tuple[Contact, ...]


class Simulator:
    """One mission of a scenario. Equal scenario, seed and choices give equal numbers.

    >>> from power_sim import admit, load_scenario
    >>> sim = Simulator(load_scenario("paper"), seed=0)
    >>> state = sim.observe()
    >>> option = state.options[0]
    >>> outcome = sim.advance(admit(state, option), option)
    >>> sim.slots, outcome.reserve_violated, outcome.truncated
    (30, False, False)
    """

    def __init__(self, scenario: Scenario, seed: int, orbits: float | None = None) -> None:
        self.scenario = scenario
        self.seed = seed
        self._timeline = timeline_of(scenario, orbits)
        self._episode = draw_episode(scenario, self._timeline, seed)
        self._craft = Craft(scenario, self._timeline)
        self._craft.begin(self._episode)

    @property
    def slots(self) -> int:
        """How many slots the mission has."""
        return self._episode.slots

    @property
    def slot(self) -> int:
        """The slot that is due, equal to ``slots`` once the mission is over."""
        return self._craft.slot

    @property
    def over(self) -> bool:
        """Whether the mission has ended: flown to its last slot, or the battery ran empty."""
        return self._craft.terminated or self._craft.slot >= self._craft.slots

    def observe(self) -> SlotState:
        """Return what a policy may know of the slot that is due; ``PowerSimError`` once the mission is over."""
        self._refuse_after_the_end()
        craft = self._craft
        craft.prepare()
        line, at = self._timeline, craft.first + craft.slot
        stop = min(at + 1 + self.scenario.policy.horizon_slots, craft.first + craft.slots)
        net = line.harvest_j[at + 1 : stop] - line.bus_j[at + 1 : stop]
        value = line.expected_value[at + 1 : stop]
        return SlotState(
            slot=craft.slot,
            start_unix_s=float(line.start_unix_s[at]),
            duration_s=line.plant.slot_s,
            charge_j=craft.charge_j,
            capacity_j=line.plant.capacity_j,
            reserve_j=line.plant.reserve_j,
            harvest_j=float(line.harvest_j[at]),
            load_j=float(line.bus_j[at]),
            budget_j=craft.budget_j,
            time_budget_s=craft.time_budget_s,
            heat_budget_j=craft.heat_budget_j,
            temperature_k=craft.temperature_k,
            temperature_limit_k=line.plant.limit_k,
            sunlit_frac=float(line.sunlit_frac[at]),
            eclipse_in_s=float(line.eclipse_in_s[at]),
            sunrise_in_s=float(line.sunrise_in_s[at]),
            ahead_net_j=tuple(net.tolist()),
            ahead_value=tuple(value.tolist()),
            arrived_tile=int(craft.arrived_tile),
            queued_tile=int(craft.queued_tile),
            value_per_correct=craft.value_per_correct,
            difficulty_frac=1.0 - sum(craft.accuracy_frac) / len(craft.accuracy_frac),
            cover=line.covers[craft.main_cover()],
            latitude_rad=float(line.latitude_rad[at]),
            longitude_rad=float(line.longitude_rad[at]),
            pass_in_s=float(line.pass_in_s[at]),
            pass_s=float(line.pass_s[at]),
            downlink_byte=int(line.downlink_byte[at]),
            backlog_byte=int(craft.backlog_byte),
            accuracy_floor_frac=self.scenario.limits.accuracy_floor_frac,
            may_idle=self.scenario.limits.may_idle,
            options=tuple(
                Option(model.name, model.mode, accuracy, energy_j, time_s, awake_j=awake)
                for model, accuracy, energy_j, time_s, awake in zip(
                    self.scenario.pool.models,
                    craft.accuracy_frac,
                    craft.energy_j,
                    craft.time_s,
                    craft.awake_j,
                    strict=True,
                )
            ),
        )

    def advance(self, work: Work, option: Option | None) -> Outcome:
        """Do a slot's work, as ``admit`` returned it, and move to the next slot.

        The joules are the work's own, so that a replay may hand in measured ones. Where the scenario hides its draws,
        accuracy and joules
        are as drawn, and tiles that the true joules do not allow are left over.
        """
        self._refuse_after_the_end()
        craft = self._craft
        craft.prepare()
        if work.tile > craft.waiting_tile:
            raise PowerSimError(
                f"work of {work.tile} tiles exceeds the {craft.waiting_tile:.0f} that wait. Use admit()."
            )
        if option is None or work.tile == 0:
            work = IDLE if work.energy_j == 0 else work
            return self._outcome(craft.apply(float(work.tile), work.energy_j, 0.0))
        if self.scenario.pool.visible:
            return self._outcome(craft.apply(float(work.tile), work.energy_j, option.accuracy_frac))
        names = [(model.name, model.mode) for model in self.scenario.pool.models]
        return self._outcome(craft.apply_drawn(float(work.tile), names.index((option.model, option.mode))))

    def track(self) -> MissionTrack:
        """Return the mission's path, load and passes for reports."""
        line, craft = self._timeline, self._craft
        part = slice(craft.first, craft.first + craft.slots)
        begin, end = float(line.start_unix_s[part][0]), float(line.start_unix_s[part][-1]) + line.plant.slot_s
        arrived = self._episode.arrived_tile
        main = np.argmax(arrived * line.value + 1e-9 * line.mean_tile[part], axis=1)
        return MissionTrack(
            unix_s=line.start_unix_s[part],
            latitude_rad=line.latitude_rad[part],
            longitude_rad=line.longitude_rad[part],
            sunlit_frac=line.sunlit_frac[part],
            harvest_j=line.harvest_j[part],
            load_j=line.bus_j[part],
            arrived_tile=arrived.sum(axis=1),
            pass_s=line.pass_s[part],
            cover=np.array(line.covers)[main],
            contacts=tuple(
                Contact(p.station, max(p.start_unix_s, begin), min(p.end_unix_s, end), p.peak_rad)
                for p in line.passes
                if p.end_unix_s > begin and p.start_unix_s < end
            ),
        )

    def _outcome(self, slot: int) -> Outcome:
        craft = self._craft
        spilled_j, lost_j = spilled_and_lost_j(
            craft.plant,
            craft.before_j,
            craft.charge_j,
            craft.harvested_j,
            craft.load_j,
            craft.spent_j,
            craft.unserved_j,
        )
        return Outcome(
            slot=slot,
            reward=craft.reward,
            tile=int(craft.done_tile),
            correct_tile=craft.done_tile * craft.done_accuracy_frac,
            accuracy_frac=craft.done_accuracy_frac,
            value=craft.done_value,
            energy_j=craft.spent_j,
            harvested_j=craft.harvested_j,
            drawn_j=craft.load_j + craft.spent_j - craft.unserved_j,
            radio_j=float(self._timeline.radio_j[craft.first + slot]),
            spilled_j=spilled_j,
            lost_j=lost_j,
            unserved_j=craft.unserved_j,
            charge_j=craft.charge_j,
            shed_tile=int(craft.shed_tile),
            queued_tile=int(craft.queued_tile),
            temperature_k=craft.temperature_k,
            sent_byte=int(craft.sent_byte),
            backlog_byte=int(craft.backlog_byte),
            reserve_violated=craft.reserve_violated,
            terminated=craft.terminated,
            truncated=craft.slot >= craft.slots,
        )

    def _refuse_after_the_end(self) -> None:
        if self.over:
            raise PowerSimError(f"the mission ended after slot {self._craft.slot - 1}. Start another Simulator.")
