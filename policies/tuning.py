"""The frame of the trainers without a library: a grid tried on validation missions, the best trained in full, exported.

A trainer hands in its ``Kind``; its ``Learner`` flies and learns. What is interrupted goes on to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from power_sim.scenario import Scenario
from power_sim.timeline import timeline_of

from .cards import Carded
from .curves import CurvePoint
from .errors import TooLargeError, TrainingError, TrainingInterrupted
from .learned import describe
from .network import FloatArray
from .practice import Actions, Checkpoint, Flags, Practised, Progress, visited, worth_on, write_results

Arrays = Mapping[str, NDArray[Any]]
BEST = "best"
"""How the names of a policy's arrays begin in a checkpoint."""


class Settings(Protocol):
    """One point of a grid: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def copies(self) -> int:
        """Missions of a round, side by side; the same all over a grid."""
        ...

    @property
    def words(self) -> str:
        """What is tried, for the progress line."""
        ...


class Taught(Protocol):
    """A policy as its file holds it."""

    def __call__(self, features: FloatArray, /) -> FloatArray | list[float]:
        """Return a score (actions,) for each action in the state of one row (inputs,)."""
        ...


AnySettings = TypeVar("AnySettings", bound=Settings)
Policy = TypeVar("Policy", bound=Taught)
OfPolicy = TypeVar("OfPolicy", bound=Taught, covariant=True)


class Learner(Protocol[OfPolicy]):
    """A policy in the making."""

    def fly(self, number: int, of: int) -> tuple[float, float]:
        """Fly the missions of round ``number`` of ``of`` and learn; returns the mean reward of one, the exploration."""
        ...

    def kept(self) -> Arrays:
        """Return the policy as it is now: arrays whose names begin with ``best``."""
        ...

    def policy(self, kept: Arrays) -> OfPolicy:
        """Return the policy that ``kept`` once returned."""
        ...

    def state(self) -> Arrays:
        """Return everything that a checkpoint must hold to go on; no name begins with ``best``."""
        ...

    def restore(self, arrays: Arrays) -> None:
        """Take up the state of a checkpoint."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[AnySettings, Policy]):
    """What one trainer has of its own."""

    name: str
    """As policies are asked for."""
    title: str
    """Of the learning curve."""
    tune_part: int
    """Each setting of the grid is tried with one part in so many of the whole training."""
    tunes_one: bool
    """A grid of one setting is tried, too."""
    snapshots: int
    """How often the training looks at the validation missions."""
    start: Callable[[Scenario, AnySettings, int, float | None], Learner[Policy]]
    """From scenario, settings, seed and orbits. Raises ``TooLargeError`` for settings that must be left out."""
    choose: Callable[[Policy, FloatArray, Flags], Actions]
    """From rows (n, inputs) and their open actions (n, actions)."""
    save: Callable[[Path, Policy, Mapping[str, Any]], Carded]
    load: Callable[[Path], Taught]
    told: Callable[[Policy, Scenario], Mapping[str, Any]] = lambda policy, scenario: {}
    """What the card says besides."""
    unlearned: Arrays = field(default_factory=dict)
    """What a checkpoint holds in place of the best policy before there is one."""


def practise(
    kind: Kind[AnySettings, Policy],
    scenario: Scenario,
    grid: Sequence[AnySettings],
    *,
    steps: int,
    seed: int,
    out: Path,
    progress: Progress,
    orbits: float | None,
) -> Practised:
    """Tune, train the best setting for ``steps`` slots, and write policy, card and curve, as the trainers promise."""
    if steps < 1:
        raise TrainingError(f"{steps} training steps make no policy. Ask for 1 or more.")
    plan = {"scenario_sha256": scenario.sha256, "seed": seed, "steps": steps, "orbits": orbits}
    store = Checkpoint(out / "checkpoint" / f"{kind.name}.npz", {**plan, "grid": [asdict(point) for point in grid]})
    practice = _Practice(kind, scenario, grid, steps, seed, orbits, store, progress)
    try:
        practice.tune()
        learner = practice.train()
    except KeyboardInterrupt:
        practice.save()
        raise TrainingInterrupted(
            f"Training stopped after {practice.flown} slots. Run the same again to go on from {out}."
        ) from None
    return _export(practice, learner.policy(practice.best), seed, orbits, out)


class _Practice(Generic[AnySettings, Policy]):
    """Tuning and training with what is known so far."""

    def __init__(
        self,
        kind: Kind[AnySettings, Policy],
        scenario: Scenario,
        grid: Sequence[AnySettings],
        steps: int,
        seed: int,
        orbits: float | None,
        store: Checkpoint,
        progress: Progress,
    ) -> None:
        self.kind, self.scenario, self.grid, self._seed, self._orbits = kind, scenario, grid, seed, orbits
        self._store, self._progress = store, progress
        self._slots = timeline_of(scenario, orbits).episode_slots * grid[0].copies
        self.rounds = max(1, -(-steps // self._slots))
        self.worths: list[float | None] = []
        self.points: list[CurvePoint] = []
        self.number, self.best_worth = 0, -np.inf
        self.best = kind.unlearned
        self.learner: Learner[Policy] | None = None
        self._held: Arrays = {}
        if kept := store.load():
            arrays, state = kept
            self.worths, self.number, self.best_worth = state["worths"], state["number"], state["best_worth"]
            self.points = [CurvePoint(*point) for point in state["points"]]
            self.best = {name: array for name, array in arrays.items() if name.startswith(BEST)}
            if held := {name: array for name, array in arrays.items() if not name.startswith(BEST)}:
                self.learner = self._start(self.settings)
                self.learner.restore(held)
                self._hold(self.learner)

    @property
    def flown(self) -> int:
        """Slots flown with the setting that is trained in full."""
        return self.number * self._slots

    @property
    def settings(self) -> AnySettings:
        """The best setting of the grid."""
        worths = [-np.inf if worth is None else worth for worth in self.worths]
        return self.grid[int(np.argmax(worths))]

    def tune(self) -> None:
        """Try each setting that was not yet tried."""
        part = max(1, self.rounds // self.kind.tune_part)
        while len(self.worths) < len(self.grid) and (len(self.grid) > 1 or self.kind.tunes_one):
            point = self.grid[len(self.worths)]
            try:
                learner = self._start(point)
            except TooLargeError:
                self.worths.append(None)
                continue
            for number in range(part):
                learner.fly(number, part)
            worth = self._keep_best(learner)
            self.worths.append(worth)
            self._progress(len(self.worths), len(self.grid), f"tried {point.words}: {worth:.2f} per mission")
        self.worths = self.worths or [0.0]

    def train(self) -> Learner[Policy]:
        """Train the best setting in full; the policy that ever did best on the validation missions is kept."""
        learner = self.learner = self.learner or self._start(self.settings)
        every = max(1, self.rounds // self.kind.snapshots)
        while self.number < self.rounds:
            reward, exploration_frac = learner.fly(self.number, self.rounds)
            self.number += 1
            self._hold(learner)
            self.points.append(CurvePoint(self.flown, self.number * self.settings.copies, reward, exploration_frac))
            if self.number % every == 0 or self.number == self.rounds:
                self._keep_best(learner)
                self.save()
            exploring = f", exploring {exploration_frac:.0%}" if exploration_frac else ""
            self._progress(self.flown, self.rounds * self._slots, f"reward {reward:.2f} per mission{exploring}")
        return learner

    def save(self) -> None:
        """Write the checkpoint, as of the last whole round."""
        state = {
            "worths": self.worths,
            "number": self.number,
            "best_worth": self.best_worth,
            "points": [[p.step, p.episodes, p.reward_mean, p.exploration_frac] for p in self.points],
        }
        self._store.save({**self.best, **self._held}, state)

    def _start(self, settings: AnySettings) -> Learner[Policy]:
        return self.kind.start(self.scenario, settings, self._seed, self._orbits)

    def _hold(self, learner: Learner[Policy]) -> None:
        self._held = {name: array.copy() for name, array in learner.state().items()}

    def _keep_best(self, learner: Learner[Policy]) -> float:
        kept = learner.kept()
        policy = learner.policy(kept)
        worth = worth_on(self.scenario, lambda row, is_open: self.kind.choose(policy, row, is_open), self._orbits)
        if worth > self.best_worth:
            self.best_worth, self.best = worth, kept
        return worth


def _export(
    practice: _Practice[AnySettings, Policy], policy: Policy, seed: int, orbits: float | None, out: Path
) -> Practised:
    """Write the arrays, prove that the file chooses alike, then card and curve. No proof, no file."""
    kind, scenario = practice.kind, practice.scenario
    rows, is_open = visited(scenario, seed, lambda row, flags: kind.choose(policy, row, flags), orbits)
    trained = {
        "steps": practice.flown,
        "seed": seed,
        **asdict(practice.settings),
        **kind.told(policy, scenario),
        "settings_tried": sum(worth is not None for worth in practice.worths),
        "validation_reward": practice.best_worth,
        "agreement_states": len(rows),
    }
    path = out / f"{kind.name}-{scenario.name}.npz"
    path.with_suffix(".json").unlink(missing_ok=True)  # the card of an older file would refuse this one
    file = kind.save(path, policy, describe(kind.name, scenario, trained))
    read = kind.load(path)
    ours = np.array([np.where(flags, read(row), -np.inf).argmax() for row, flags in zip(rows, is_open, strict=True)])
    agreement = float(np.mean(ours == kind.choose(policy, rows, is_open)))
    if agreement < 1.0:
        path.unlink()
        raise TrainingError(f"The file chooses otherwise on {1 - agreement:.2%} of {len(rows)} states. None was kept.")
    title = f"{kind.title} in {scenario.name}, seed {seed}"
    return write_results(path, file, practice.points, title, practice.flown, agreement)
