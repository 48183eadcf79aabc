"""Orbit, Sun, battery, heat, workload, link and energy budget, and the scenarios that combine them."""

from __future__ import annotations

from .errors import OrbitError, PowerSimError, ScenarioError
from .metrics import aee, aee_per_j, aee_total_per_j, paper_reward, value_reward
from .observation import OBSERVATION_LAYOUT, action_mask, observation_size, observe
from .profiles import ModelProfile
from .scenario import Scenario, load_scenario, scenario_names
from .simulator import MissionTrack, Outcome, Simulator
from .slot import IDLE, Option, SlotState, Work, admit

__all__ = [
    "IDLE",
    "OBSERVATION_LAYOUT",
    "MissionTrack",
    "ModelProfile",
    "Option",
    "OrbitError",
    "Outcome",
    "PowerSimError",
    "Scenario",
    "ScenarioError",
    "Simulator",
    "SlotState",
    "Work",
    "action_mask",
    "admit",
    "aee",
    "aee_per_j",
    "aee_total_per_j",
    "load_scenario",
    "observation_size",
    "observe",
    "paper_reward",
    "scenario_names",
    "value_reward",
]
