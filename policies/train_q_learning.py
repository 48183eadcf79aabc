"""Tabular Q-learning over a stated discretisation, tuned on validation seeds before it is trained in full.

Slots without a choice are passed over: what is learned is the worth of a choice until the next one. Top to bottom:
settings and the grid that is tried, one learner. Tuning, checkpoint and export are those of ``tuning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from power_sim.observation import feature_names, observation_size
from power_sim.scenario import Scenario

from .errors import TooLargeError, TrainingError
from .learned import action_names
from .network import FloatArray
from .practice import TRAIN_SEED, Actions, Flags, Moment, Practised, Progress, at_random, best_open, missions
from .tabular import Bins, Table, load_table, save_table
from .tuning import Arrays, Kind, practise

COPIES = 64
MOST_ENTRIES = 45_000
"""Cells times actions: 180 kB on board."""
EVERY_OPTION = "option*."
FIRST_EXPLORATION, FINAL_EXPLORATION, EXPLORATION_FRAC = 0.9, 0.03, 0.4
PAPER_BINS = {
    "accuracy": {"option*.accuracy_frac": 8},
    "accuracy-fine": {"option*.accuracy_frac": 20},
    "accuracy-joules": {"option*.accuracy_frac": 8, "option*.efficiency_frac": 3},
    "accuracy-budget": {"option*.accuracy_frac": 8, "budget_frac": 4, "need_frac": 4},
}
BATTERY_BINS = {
    "charge": {"spare_frac": 8, "density_frac": 8},
    "charge-work": {"spare_frac": 8, "density_frac": 6, "need_frac": 5},
    "charge-light": {"spare_frac": 8, "density_frac": 5, "need_frac": 4, "net_8": 4, "value_8": 3},
    "charge-end": {"spare_frac": 8, "density_frac": 6, "need_frac": 4, "ahead": 4},
}


@dataclass(frozen=True, slots=True)
class QSettings:
    """One point of the grid."""

    bins: str
    """A key of the discretisations above."""
    learning_rate: float
    """Falls to a tenth in a straight line; 0 takes one over the visits."""
    discount: float

    @property
    def copies(self) -> int:
        """Missions of a round."""
        return COPIES

    @property
    def words(self) -> str:
        """What is tried, for the progress line."""
        return self.bins


def grid_for(scenario: Scenario) -> tuple[QSettings, ...]:
    """Return the settings that are tried in a scenario."""
    paper = scenario.power.kind == "paper"
    discounts = (0.0, 0.9, 0.99) if paper else (0.9, 0.99, 1.0)
    every = product(PAPER_BINS if paper else BATTERY_BINS, (0.0, 0.05, 0.2), discounts)
    return tuple(QSettings(*point) for point in every)


def measure_bins(scenario: Scenario, name: str, seed: int, orbits: float | None) -> Bins | None:
    """Return a discretisation with as many slots in each bin, as flown by chance; None where it would be too large."""
    options, rng = len(scenario.pool.models), np.random.default_rng(seed)
    rows = [
        moment.row[moment.flying & (moment.open.sum(axis=1) > 1)]
        for moment in missions(scenario, COPIES, TRAIN_SEED, lambda row, is_open: at_random(rng, is_open), orbits)
    ]
    seen, names = np.concatenate(rows), feature_names(options)
    if not len(seen):
        raise TrainingError(f"{scenario.name} never leaves a choice. Nothing can be learned there.")
    features, edges = [], []
    for pattern, count in {**PAPER_BINS, **BATTERY_BINS}[name].items():
        for k in range(options) if pattern.startswith(EVERY_OPTION) else (0,):
            feature = names.index(pattern.replace("*", str(k)))
            cuts = np.unique(np.quantile(seen[:, feature], np.arange(1, count) / count).astype(np.float32))
            features.append(feature)
            edges.append(tuple(cuts[cuts > seen[:, feature].min()].tolist()))
    bins = Bins(observation_size(options), tuple(features), tuple(edges))
    return bins if bins.cells * len(action_names(scenario)) <= MOST_ENTRIES else None


class Learner:
    """One table in the making. ``values``: (cells, actions)."""

    def __init__(self, scenario: Scenario, settings: QSettings, bins: Bins, seed: int, orbits: float | None) -> None:
        self._scenario, self.settings, self.bins = scenario, settings, bins
        self._seed, self._orbits = seed, orbits
        shape = bins.cells, len(action_names(scenario))
        self.values, self.visits = np.zeros(shape), np.zeros(shape, np.int64)

    def fly(self, number: int, of: int) -> tuple[float, float]:
        """Fly and learn from round ``number`` of ``of``; returns mean reward per mission and the exploration."""
        rng, progress = np.random.default_rng([self._seed, number]), number / of
        epsilon = FIRST_EXPLORATION + (FINAL_EXPLORATION - FIRST_EXPLORATION) * min(progress / EXPLORATION_FRAC, 1.0)
        rate = self.settings.learning_rate * (1.0 - 0.9 * progress)
        self._cell, self._taken = np.full(COPIES, -1), np.zeros(COPIES, np.intp)
        self._earned, total = np.zeros(COPIES), 0.0

        def choose(row: FloatArray, is_open: Flags) -> Actions:
            return np.where(rng.random(len(row)) < epsilon, at_random(rng, is_open), self.choose(row, is_open))

        first = TRAIN_SEED * (self._seed + 1) + number * COPIES
        for moment in missions(self._scenario, COPIES, first, choose, self._orbits):
            self._learn(moment, rate)
            total += float(moment.reward[moment.flying].sum())
        return total / COPIES, epsilon

    def choose(self, row: FloatArray, is_open: Flags) -> Actions:
        """Return the open action of the highest value."""
        return best_open(self.values[self.bins.cells_of(row)], is_open)

    def kept(self) -> Arrays:
        """Return the table's values; what was never tried takes its action's mean."""
        tried = self.visits > 0
        weight = np.maximum(self.visits.sum(axis=0), 1)
        mean = (self.values * self.visits).sum(axis=0) / weight
        return {"best": np.where(tried, self.values, mean).astype(np.float32)}

    def policy(self, kept: Arrays) -> Table:
        """Return the table of what ``kept`` returned."""
        return Table(self.bins, kept["best"])

    def state(self) -> Arrays:
        """Return everything that a checkpoint must hold."""
        return {"values": self.values, "visits": self.visits}

    def restore(self, arrays: Arrays) -> None:
        """Take up the state of a checkpoint."""
        self.values, self.visits = arrays["values"], arrays["visits"]

    def _learn(self, moment: Moment, rate: float) -> None:
        now, flying = self.bins.cells_of(moment.row), moment.flying
        choice = flying & (moment.open.sum(axis=1) > 1)
        due = choice & (self._cell >= 0)
        ahead = np.where(moment.open, self.values[now], -np.inf).max(axis=1)
        self._update(due, self._earned + self.settings.discount * ahead, rate)
        self._cell, self._taken = np.where(choice, now, self._cell), np.where(choice, moment.action, self._taken)
        self._earned = np.where(choice, 0.0, self._earned) + moment.reward * flying
        ended = flying & moment.over & (self._cell >= 0)
        self._update(ended, self._earned, rate)

    def _update(self, which: Flags, target: NDArray[np.float64], rate: float) -> None:
        if not which.any():
            return
        actions = self.values.shape[1]
        entry, back, count = np.unique(
            self._cell[which] * actions + self._taken[which], return_inverse=True, return_counts=True
        )
        values, visits = self.values.ravel(), self.visits.ravel()
        visits[entry] += count
        step = 1.0 - (1.0 - rate) ** count if rate > 0 else count / visits[entry]
        values[entry] += step * (np.bincount(back, target[which]) / count - values[entry])


def train_q_learning(
    scenario: Scenario,
    *,
    steps: int,
    seed: int,
    out: Path,
    progress: Progress,
    grid: Sequence[QSettings] | None = None,
    orbits: float | None = None,
) -> Practised:
    """Tune on validation missions, train the best setting for ``steps`` slots, and write policy, card and curve.

    A checkpoint in ``out`` is gone on from, to the same bytes. Raises ``TrainingInterrupted`` on Ctrl-C, after which
    the same call goes on, and ``TrainingError`` for a folder that holds another training.
    """
    tried = tuple(grid or grid_for(scenario))
    return practise(KIND, scenario, tried, steps=steps, seed=seed, out=out, progress=progress, orbits=orbits)


def _start(scenario: Scenario, settings: QSettings, seed: int, orbits: float | None) -> Learner:
    bins = measure_bins(scenario, settings.bins, seed, orbits)
    if bins is None:
        raise TooLargeError(f"No discretisation of {scenario.name} is small enough. Use a smaller pool.")
    return Learner(scenario, settings, bins, seed, orbits)


KIND = Kind(
    name="q-learning",
    title="q-learning",
    tune_part=8,
    tunes_one=True,
    snapshots=10,
    start=_start,
    choose=lambda table, rows, is_open: best_open(table.values[table.bins.cells_of(rows)], is_open),
    save=save_table,
    load=lambda path: load_table(path).table,
    told=lambda table, scenario: {"state": table.bins.describe(len(scenario.pool.models))},
    unlearned={"best": np.zeros((0, 0), np.float32)},
)
