"""Tabular Q-learning over a stated discretisation, tuned on validation seeds before it is trained in full.

Slots without a choice are passed over: what is learned is the worth of a choice until the next one. Top to bottom:
settings and the grid that is tried, one learner, the training with its checkpoint, the export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.observation import feature_names, observation_size
from power_sim.scenario import Scenario
from power_sim.timeline import timeline_of

from .curves import CurvePoint
from .errors import TrainingError, TrainingInterrupted
from .learned import action_names, describe
from .network import FloatArray
from .practice import (
    TRAIN_SEED,
    Actions,
    Checkpoint,
    Flags,
    Moment,
    Practised,
    Progress,
    at_random,
    best_open,
    missions,
    visited,
    worth_on,
    write_results,
)
from .tabular import Bins, Table, load_table, save_table

COPIES = 64
MOST_ENTRIES = 45_000
"""Cells times actions: 180 kB on board."""
TUNE_PART = 8
"""Each setting of the grid is tried with one part in so many of the whole training."""
SNAPSHOTS = 10
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

    def table(self) -> Table:
        """Return the table; what was never tried takes its action's mean."""
        tried = self.visits > 0
        weight = np.maximum(self.visits.sum(axis=0), 1)
        mean = (self.values * self.visits).sum(axis=0) / weight
        return Table(self.bins, np.where(tried, self.values, mean).astype(np.float32))

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
    if steps < 1:
        raise TrainingError(f"{steps} training steps make no policy. Ask for 1 or more.")
    grid = tuple(grid or grid_for(scenario))
    plan = {"scenario_sha256": scenario.sha256, "seed": seed, "steps": steps, "orbits": orbits}
    store = Checkpoint(out / "checkpoint" / "q-learning.npz", {**plan, "grid": [asdict(point) for point in grid]})
    practice = _Practice(scenario, grid, steps, seed, orbits, store, progress)
    try:
        practice.tune()
        practice.train()
    except KeyboardInterrupt:
        practice.save()
        raise TrainingInterrupted(
            f"Training stopped after {practice.flown} slots. Run the same again to go on from {out}."
        ) from None
    return _export(practice, scenario, steps, seed, orbits, out)


class _Practice:
    """Tuning and training with what is known so far."""

    def __init__(
        self,
        scenario: Scenario,
        grid: tuple[QSettings, ...],
        steps: int,
        seed: int,
        orbits: float | None,
        store: Checkpoint,
        progress: Progress,
    ) -> None:
        self.scenario, self.grid, self._seed, self._orbits = scenario, grid, seed, orbits
        self._store, self._progress = store, progress
        self._slots = timeline_of(scenario, orbits).episode_slots * COPIES
        self.rounds = max(1, -(-steps // self._slots))
        self.worths: list[float | None] = []
        self.points: list[CurvePoint] = []
        self.number, self.best_worth, self.best = 0, -np.inf, np.zeros((0, 0), np.float32)
        self.learner: Learner | None = None
        self._held: dict[str, NDArray[Any]] = {}
        if kept := store.load():
            arrays, state = kept
            self.worths, self.number, self.best_worth = state["worths"], state["number"], state["best_worth"]
            self.points = [CurvePoint(*point) for point in state["points"]]
            self.best = arrays["best"]
            if "values" in arrays:
                self.learner = learner = self._learner(self.settings)
                assert learner is not None
                learner.values, learner.visits = arrays["values"], arrays["visits"]
                self._hold(learner)

    @property
    def flown(self) -> int:
        """Slots flown with the setting that is trained in full."""
        return self.number * self._slots

    @property
    def settings(self) -> QSettings:
        """The best setting of the grid."""
        worths = [-np.inf if worth is None else worth for worth in self.worths]
        return self.grid[int(np.argmax(worths))]

    def tune(self) -> None:
        """Try each setting that was not yet tried."""
        part = max(1, self.rounds // TUNE_PART)
        while len(self.worths) < len(self.grid):
            point = self.grid[len(self.worths)]
            learner = self._learner(point)
            if learner is None:
                self.worths.append(None)
                continue
            for number in range(part):
                learner.fly(number, part)
            worth = self._keep_best(learner.table())
            self.worths.append(worth)
            self._progress(len(self.worths), len(self.grid), f"tried {point.bins}: {worth:.2f} per mission")

    def train(self) -> None:
        """Train the best setting in full; the table that ever did best on the validation missions is kept."""
        learner = self.learner = self.learner or self._learner(self.settings)
        if learner is None:
            raise TrainingError(f"No discretisation of {self.scenario.name} is small enough. Use a smaller pool.")
        every = max(1, self.rounds // SNAPSHOTS)
        while self.number < self.rounds:
            reward, epsilon = learner.fly(self.number, self.rounds)
            self.number += 1
            self._hold(learner)
            self.points.append(CurvePoint(self.flown, self.number * COPIES, reward, epsilon))
            if self.number % every == 0 or self.number == self.rounds:
                self._keep_best(learner.table())
                self.save()
            line = f"reward {reward:.2f} per mission, exploring {epsilon:.0%}"
            self._progress(self.flown, self.rounds * self._slots, line)

    def save(self) -> None:
        """Write the checkpoint, as of the last whole round."""
        arrays: dict[str, NDArray[Any]] = {"best": self.best, **self._held}
        state = {
            "worths": self.worths,
            "number": self.number,
            "best_worth": self.best_worth,
            "points": [[p.step, p.episodes, p.reward_mean, p.exploration_frac] for p in self.points],
        }
        self._store.save(arrays, state)

    def _hold(self, learner: Learner) -> None:
        self._held = {"values": learner.values.copy(), "visits": learner.visits.copy()}

    def _keep_best(self, table: Table) -> float:
        worth = self._worth(table)
        if worth > self.best_worth:
            self.best_worth, self.best = worth, table.values
        return worth

    def _learner(self, settings: QSettings) -> Learner | None:
        bins = measure_bins(self.scenario, settings.bins, self._seed, self._orbits)
        return None if bins is None else Learner(self.scenario, settings, bins, self._seed, self._orbits)

    def _worth(self, table: Table) -> float:
        return worth_on(self.scenario, lambda row, is_open: _choose(table, row, is_open), self._orbits)


def _choose(table: Table, row: FloatArray, is_open: Flags) -> Actions:
    return best_open(table.values[table.bins.cells_of(row)], is_open)


def _export(
    practice: _Practice, scenario: Scenario, steps: int, seed: int, orbits: float | None, out: Path
) -> Practised:
    """Write the table, prove that the file chooses alike, then card and curve. No proof, no file."""
    assert practice.learner is not None
    table = Table(practice.learner.bins, practice.best)
    rows, is_open = visited(scenario, seed, lambda row, flags: _choose(table, row, flags), orbits)
    trained = {
        "steps": practice.flown,
        "seed": seed,
        **asdict(practice.settings),
        "state": table.bins.describe(len(scenario.pool.models)),
        "settings_tried": sum(worth is not None for worth in practice.worths),
        "validation_reward": practice.best_worth,
        "agreement_states": len(rows),
    }
    path = out / f"q-learning-{scenario.name}.npz"
    path.with_suffix(".json").unlink(missing_ok=True)  # the card of an older file would refuse this one
    file = save_table(path, table, describe("q-learning", scenario, trained))
    read = load_table(path).table
    ours = np.array([np.where(flags, read(row), -np.inf).argmax() for row, flags in zip(rows, is_open, strict=True)])
    agreement = float(np.mean(ours == _choose(table, rows, is_open)))
    if agreement < 1.0:
        path.unlink()
        raise TrainingError(f"The file chooses otherwise on {1 - agreement:.2%} of {len(rows)} states. None was kept.")
    title = f"q-learning in {scenario.name}, seed {seed}"
    return write_results(path, file, practice.points, title, practice.flown, agreement)
