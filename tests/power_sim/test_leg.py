"""A flight's leg shows a policy the same slot as the simulator, given the same facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from power_sim.leg import Leg, Measured
from power_sim.scenario import load_scenario
from power_sim.simulator import Simulator
from power_sim.slot import admit
from power_sim.timeline import timeline_of


@pytest.mark.parametrize("name", ["cubesat-6u", "paper"])
def test_a_leg_fed_with_a_simulated_mission_shows_every_slot_alike(name: str) -> None:
    scenario = load_scenario(name)
    simulator = Simulator(scenario, seed=3, orbits=1)
    line, episode, craft = timeline_of(scenario, 1), simulator._episode, simulator._craft
    leg = Leg(scenario, replace(line, episode_slots=len(line.start_unix_s)))
    for slot in range(simulator.slots):
        seen = simulator.observe()
        at = episode.first + slot
        row = 0 if len(episode.energy_j) == 1 else slot
        measured = Measured(
            charge_j=seen.charge_j,
            temperature_k=seen.temperature_k,
            arrived_tile=[int(tile) for tile in episode.arrived_tile[slot]],
            queued_tile=[int(tile) for tile in craft.queue_tile],
            backlog_byte=seen.backlog_byte,
            energy_j=episode.energy_j[row].tolist(),
            time_s=episode.time_s[row].tolist(),
            healthy=[True] * len(seen.options),
        )
        told = leg.measure(at, measured)
        reach = len(seen.ahead_net_j)  # the leg goes on where the mission ends
        if name == "cubesat-6u":  # the paper's scenario draws accuracies anew in each slot, which no flight can know
            accuracy = [option.accuracy_frac for option in seen.options]
            assert [option.accuracy_frac for option in told.options] == pytest.approx(accuracy, rel=1e-12)
        assert told.value_per_correct == pytest.approx(seen.value_per_correct, rel=1e-12)
        rounded = {
            "options": seen.options,
            "difficulty_frac": seen.difficulty_frac,
            "value_per_correct": seen.value_per_correct,
        }
        ahead = {"ahead_net_j": told.ahead_net_j[:reach], "ahead_value": told.ahead_value[:reach]}
        assert replace(told, slot=seen.slot, **ahead, **rounded) == seen
        option = seen.options[slot % len(seen.options)]
        simulator.advance(admit(seen, option), option)
