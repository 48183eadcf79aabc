"""What the trainers without a library share: many missions at once, grades on validation seeds, and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.scenario import Scenario
from power_sim.vector import VectorSimulator

from .cards import Carded, write_card
from .curves import CurvePoint, draw_curve, write_curve
from .errors import PolicyFileError, TrainingError
from .network import FloatArray, read_arrays, write_arrays

Progress = Callable[[int, int, str], None]
Flags = NDArray[np.bool_]
Actions = NDArray[np.intp]
Chooser = Callable[[FloatArray, Flags], Actions]
Rows = tuple[FloatArray, Flags]
TRAIN_SEED, VALIDATION_SEED = 1_000_000, 500_000
"""Missions to learn from and to choose settings on; grades are given on seeds far below both."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One slot of several missions. Arrays of one entry per mission."""

    row: FloatArray
    """(n, inputs)."""
    open: Flags
    """(n, actions)."""
    action: Actions
    reward: NDArray[np.float64]
    next_row: FloatArray
    next_open: Flags
    over: Flags
    """The mission ended with this slot."""
    flying: Flags
    """False for missions that ended in an earlier slot."""


def missions(
    scenario: Scenario, count: int, seed: int, choose: Chooser, orbits: float | None = None, drawn: int | None = None
) -> Iterator[Moment]:
    """Fly ``count`` missions side by side, each once, and yield slot after slot.

    Flight n has the seed ``seed + n mod drawn``; None draws as many missions as there are flights.
    """
    simulator = VectorSimulator(scenario, count, seed, drawn or count, orbits)
    row, is_open = simulator.reset()
    flying = np.ones(count, np.bool_)
    for _ in range(simulator.bank.slots):
        action = choose(row, is_open)
        step = simulator.step(action)
        over = step.terminated | step.truncated
        yield Moment(row, is_open, action, step.reward, step.observation, step.mask, over, flying)
        row, is_open, flying = step.observation, step.mask, flying & ~over


def best_open(scores: NDArray[Any], is_open: Flags) -> Actions:
    """Return the open action of the highest score, (n,)."""
    return np.asarray(np.where(is_open, scores, -np.inf).argmax(axis=1))


def at_random(rng: np.random.Generator, is_open: Flags) -> Actions:
    """Return an open action with equal probability, (n,)."""
    return best_open(rng.random(is_open.shape), is_open)


def worth_on(scenario: Scenario, choose: Chooser, orbits: float | None = None, count: int = 100) -> float:
    """Return the mean reward of a mission over the validation seeds."""
    total = np.zeros(count)
    for moment in missions(scenario, count, VALIDATION_SEED, choose, orbits):
        total += moment.reward * moment.flying
    return float(total.mean())


class Checkpoint:
    """Arrays and a few words of one training, in one file that belongs to one plan."""

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self._path, self._plan = path, json.loads(json.dumps(plan))

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return the arrays and the words to go on from, nothing where there are none."""
        if not self._path.is_file():
            return None
        try:
            arrays, about, _ = read_arrays(self._path)
        except PolicyFileError as error:
            raise TrainingError(f"The checkpoint {self._path} is damaged. Remove it to start anew.") from error
        if about.get("plan") != self._plan:
            raise TrainingError(
                f"{self._path} belongs to a training with another scenario, seed, length or settings. "
                "Choose another --out, or remove it."
            )
        return arrays, about["state"]

    def save(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint, whole or not at all."""
        write_arrays(self._path, arrays, {"plan": self._plan, "state": state})


@dataclass(frozen=True, slots=True)
class Practised:
    """What a training left behind."""

    path: Path
    card: Path
    curve: Path
    steps: int
    agreement_frac: float
    """Share of states on which the file, read back, chooses as the trained policy does."""


def write_results(
    path: Path, file: Carded, points: Sequence[CurvePoint], title: str, steps: int, agreement_frac: float
) -> Practised:
    """Write card, learning curve and its picture beside a policy file; the picture comes last, it needs matplotlib."""
    card, curve = write_card(path, file), path.with_suffix(".csv")
    write_curve(curve, points)
    draw_curve(path.with_suffix(".png"), points, title)
    return Practised(path, card, curve, steps, agreement_frac)


def visited(scenario: Scenario, seed: int, choose: Chooser, orbits: float | None, count: int = 10_000) -> Rows:
    """Return ``count`` rows with their open actions, half from choices by chance and half from ``choose``'s own."""
    rng, rows, flags, start = np.random.default_rng(seed), list[FloatArray](), list[Flags](), VALIDATION_SEED

    def mixed(row: FloatArray, is_open: Flags) -> Actions:
        return np.where(rng.random(len(row)) < 0.5, at_random(rng, is_open), choose(row, is_open))

    while sum(map(len, rows)) < count:
        for moment in missions(scenario, 64, start, mixed, orbits):
            rows.append(moment.row)
            flags.append(moment.open)
        start += 64
    return np.concatenate(rows)[:count], np.concatenate(flags)[:count]
