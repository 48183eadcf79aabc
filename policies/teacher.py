"""Lessons for a network: states of random missions, each with what every choice would lose against the best.

The teacher knows the slot as it is and expects of the slots ahead what their mean brings, and solves the mission's
linear programme anew in every slot. It explores now and then, so that the lessons cover more than its own path.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from power_sim.observation import OPTION_SIZE, observe
from power_sim.scenario import Scenario
from power_sim.simulator import Simulator
from power_sim.slot import IDLE, SlotState

from .decision import Decision, Policy, choose, idle
from .evaluate import fly
from .network import FloatArray
from .programme import expected_mission, mission_of
from .seer import Seer
from .shield import Shield
from .survey import survey
from .universal import SLOT_SIZE, split
from .worth import worth_of

EXPLORE_FRAC = 0.15
REACH_SLOT = 64
"""How far the teacher plans."""
MOST_OPTIONS = 5
"""Idling included; lessons of smaller pools are padded with choices that are not open."""

MOST_LOSS = 20.0
"""Mean slots that one lesson may weigh at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Arrays of one entry per state."""

    slot: FloatArray
    """(n, SLOT_SIZE)."""
    blocks: FloatArray
    """(n, MOST_OPTIONS, OPTION_SIZE)."""
    open: NDArray[np.bool_]
    """(n, MOST_OPTIONS): which choices are allowed."""
    loss: FloatArray
    """(n, MOST_OPTIONS): what a choice loses against the best, in mean slots of its mission; 0 where it is not open."""

    def save(self, path: Path) -> None:
        """Write the lessons."""
        np.savez(path, slot=self.slot, blocks=self.blocks, open=self.open, loss=self.loss)


def load_lessons(path: Path) -> Lessons:
    """Return lessons that ``save`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Lessons(arrays["slot"], arrays["blocks"], arrays["open"], arrays["loss"])


def join(parts: Iterable[Lessons]) -> Lessons:
    """Return all lessons as one."""
    every = list(parts)
    return Lessons(
        np.concatenate([part.slot for part in every]),
        np.concatenate([part.blocks for part in every]),
        np.concatenate([part.open for part in every]),
        np.concatenate([part.loss for part in every]),
    )


def lessons_of(
    scenario: Scenario, seed: int, *, driver: Policy | None = None, explore_frac: float = EXPLORE_FRAC
) -> Lessons:
    """Fly the mission of ``seed`` and return what the teacher says on the way, slots without a choice left out.

    The teacher flies, or ``driver`` does, so that the lessons also tell how to go on from where others lead.
    """
    simulator, worth, rng = Simulator(scenario, seed), worth_of(scenario), np.random.default_rng(seed)
    coupled = scenario.power.kind != "paper"
    seer = _seer(scenario, seed) if coupled else None
    rows: list[tuple[FloatArray, FloatArray, NDArray[np.bool_], FloatArray]] = []
    value = 0.0
    while simulator.slot < simulator.slots:
        state = simulator.observe()
        options = survey(state)
        choice: int | None = None
        if state.waiting_tile > 0 and options.allowed:
            scores: dict[int | None, float] = (
                seer.scores(state, options)
                if seer
                else {i: worth(state, state.options[i], options.works[i]) for i in options.allowed}
            )
            rows.append(_lesson(state, scores))
            choice = max(scores, key=lambda i: scores[i]) if driver is None else driver.decide(state).option_index
            if rng.random() < explore_frac or choice not in scores:
                choice = list(scores)[rng.integers(len(scores))]
        work = IDLE if choice is None else options.works[choice]
        outcome = simulator.advance(work, None if choice is None else state.options[choice])
        value += outcome.reward
        if seer:
            seer.settle(work.tile)
        if outcome.terminated:
            break
    return _scaled(rows, max(value / simulator.slots, 1e-9))


def planned_flight(scenario: Scenario, seed: int) -> float:
    """Return what the teacher flies home, who plans every slot on expectations: a yardstick without foresight.

    It takes tens of milliseconds for a decision and knows what the queue is made of, so that it is no policy to fly.
    """
    return fly(scenario, seed, _Planner(_seer(scenario, seed)), Shield(worth_of(scenario))).value


class _Planner:
    """The teacher as a policy: it takes its own choices as flown, which the shield lets stand."""

    name = "planner"

    def __init__(self, seer: Seer) -> None:
        self._seer = seer
        self._tile: int | None = None

    def decide(self, state: SlotState) -> Decision:
        """Return the option of the best score."""
        if self._tile is not None:
            self._seer.settle(self._tile)
        options = survey(state)
        scores = self._seer.scores(state, options)
        best = max(scores, key=lambda index: scores[index], default=None)
        self._tile = 0 if best is None else options.works[best].tile
        return idle("worth more later") if best is None else choose(state.options, best, "worth most by the prices")


def _seer(scenario: Scenario, seed: int) -> Seer:
    return Seer(mission_of(scenario, seed), expected_mission(scenario, seed), worth_of(scenario), reach=REACH_SLOT)


def _lesson(
    state: SlotState, scores: dict[int | None, float]
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], FloatArray]:
    options = len(state.options)
    slot, blocks = split(observe(state), options)
    padded = np.zeros((MOST_OPTIONS, OPTION_SIZE), np.float32)
    padded[: options + 1] = blocks
    loss, is_open, best = np.zeros(MOST_OPTIONS, np.float32), np.zeros(MOST_OPTIONS, np.bool_), max(scores.values())
    for index, worth in scores.items():
        place = options if index is None else index
        loss[place], is_open[place] = best - worth, True
    return slot, padded, is_open, loss


def _scaled(rows: list[tuple[FloatArray, FloatArray, NDArray[np.bool_], FloatArray]], slot_value: float) -> Lessons:
    if not rows:
        return Lessons(
            np.zeros((0, SLOT_SIZE), np.float32),
            np.zeros((0, MOST_OPTIONS, OPTION_SIZE), np.float32),
            np.zeros((0, MOST_OPTIONS), np.bool_),
            np.zeros((0, MOST_OPTIONS), np.float32),
        )
    slot, blocks, is_open, loss = (np.stack(part) for part in zip(*rows, strict=True))
    return Lessons(slot, blocks, is_open, np.minimum(loss / np.float32(slot_value), np.float32(MOST_LOSS)))
