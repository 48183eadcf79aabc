"""REINFORCE (Williams 1992) with a learned baseline and masked actions, in numpy, tuned on validation seeds.

Top to bottom: settings and the grid that is tried, a small network with its gradient, one learner, the training with
its checkpoint, the export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.observation import observation_size
from power_sim.scenario import Scenario
from power_sim.timeline import timeline_of

from .curves import CurvePoint
from .errors import TrainingError, TrainingInterrupted
from .learned import action_names, describe
from .network import FloatArray, Mlp, load_policy_file, save_policy_file
from .practice import (
    TRAIN_SEED,
    Actions,
    Checkpoint,
    Flags,
    Practised,
    Progress,
    at_random,
    best_open,
    missions,
    visited,
    worth_on,
    write_results,
)

TUNE_PART = 6
SNAPSHOTS = 20
SHUT = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class GradientSettings:
    """One point of the grid, and what all have in common."""

    learning_rate: float
    """Of Adam; falls to a tenth in a straight line."""
    entropy: float
    """What a nat of the choice's entropy earns, in spreads of the advantage."""
    discount: float
    copies: int = 32
    """Missions between two updates."""
    hidden: int = 64
    baseline_updates: int = 4


def grid_for(scenario: Scenario) -> tuple[GradientSettings, ...]:
    """Return the settings that are tried in a scenario."""
    discounts = (0.0, 0.9) if scenario.power.kind == "paper" else (0.99, 1.0)
    return tuple(GradientSettings(*point) for point in product((1e-3, 3e-3), (0.0, 0.03, 0.1), discounts))


class Net:
    """Two hidden layers of ReLU, with Adam. Float32 throughout."""

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator, last_scale: float) -> None:
        self.parameters: list[FloatArray] = []
        for layer, (ins, outs) in enumerate(pairwise(sizes)):
            scale = np.sqrt(2.0 / ins) * (last_scale if layer == len(sizes) - 2 else 1.0)
            self.parameters += [(rng.normal(size=(ins, outs)) * scale).astype(np.float32), np.zeros(outs, np.float32)]
        self.first = [np.zeros_like(p) for p in self.parameters]
        self.second = [np.zeros_like(p) for p in self.parameters]
        self.updates = 0

    def forward(self, rows: FloatArray) -> list[FloatArray]:
        """Return the input of each layer and the output."""
        flow, last = [rows], len(self.parameters) // 2 - 1
        for layer in range(last + 1):
            out = flow[-1] @ self.parameters[2 * layer] + self.parameters[2 * layer + 1]
            flow.append(out if layer == last else np.maximum(out, 0.0))
        return flow

    def backward(self, flow: Sequence[FloatArray], slope: FloatArray) -> list[FloatArray]:
        """Return the gradient of each parameter for the gradient (n, outputs) of the output."""
        gradient: list[FloatArray] = []
        for layer in range(len(self.parameters) // 2 - 1, -1, -1):
            gradient = [flow[layer].T @ slope, slope.sum(axis=0), *gradient]
            slope = (slope @ self.parameters[2 * layer].T) * (flow[layer] > 0)
        return gradient

    def descend(self, gradient: Sequence[FloatArray], rate: float) -> None:
        """Take one step of Adam."""
        self.updates += 1
        scale = rate * np.sqrt(1.0 - 0.999**self.updates) / (1.0 - 0.9**self.updates)
        for parameter, first, second, slope in zip(self.parameters, self.first, self.second, gradient, strict=True):
            first += np.float32(0.1) * (slope - first)
            second += np.float32(0.001) * (slope * slope - second)
            parameter -= np.float32(scale) * first / (np.sqrt(second) + np.float32(1e-8))

    def state(self, name: str) -> dict[str, NDArray[Any]]:
        """Return everything that a checkpoint must hold."""
        kinds = {"p": self.parameters, "f": self.first, "s": self.second}
        held: dict[str, NDArray[Any]] = {f"{name}.{k}{i}": a for k, part in kinds.items() for i, a in enumerate(part)}
        return {**held, f"{name}.updates": np.array(self.updates)}

    def restore(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up the state of a checkpoint."""
        for kind, part in (("p", self.parameters), ("f", self.first), ("s", self.second)):
            for i, array in enumerate(part):
                array[:] = arrays[f"{name}.{kind}{i}"]
        self.updates = int(arrays[f"{name}.updates"])


def chances(logits: FloatArray, is_open: Flags) -> FloatArray:
    """Return the probability of each action, (n, actions); those that are not open have none."""
    shut = np.where(is_open, logits, SHUT)
    raised = np.exp(shut - shut.max(axis=1, keepdims=True)) * is_open
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


class Learner:
    """A policy and its baseline in the making."""

    def __init__(self, scenario: Scenario, settings: GradientSettings, seed: int, orbits: float | None) -> None:
        self._scenario, self.settings, self._seed, self._orbits = scenario, settings, seed, orbits
        rng = np.random.default_rng(seed)
        inputs, hidden = observation_size(len(scenario.pool.models)), settings.hidden
        self.policy = Net((inputs, hidden, hidden, len(action_names(scenario))), rng, 0.01)
        self.baseline = Net((inputs, hidden, hidden, 1), rng, 1.0)
        self._scales(rng)

    def fly(self, number: int, of: int) -> float:
        """Fly the missions of round ``number`` of ``of`` and learn from them; returns the mean reward of one."""
        settings, rng = self.settings, np.random.default_rng([self._seed, number])
        rate = settings.learning_rate * (1.0 - 0.9 * number / of)

        def draw(row: FloatArray, is_open: Flags) -> Actions:
            heap = chances(self.policy.forward(self._scaled(row))[-1], is_open).cumsum(axis=1)
            return best_open(heap > rng.random(len(row))[:, None] * heap[:, -1:], is_open)

        first = TRAIN_SEED * (self._seed + 1) + number * settings.copies
        flown = list(missions(self._scenario, settings.copies, first, draw, self._orbits))
        left, returns = np.zeros(settings.copies), list[NDArray[np.float64]]()
        for moment in reversed(flown):
            left = moment.reward * moment.flying + settings.discount * left
            returns.append(left / self._spread)
        which = [moment.flying & (moment.open.sum(axis=1) > 1) for moment in flown]
        rows = self._scaled(np.concatenate([m.row[w] for m, w in zip(flown, which, strict=True)]))
        is_open = np.concatenate([m.open[w] for m, w in zip(flown, which, strict=True)])
        taken = np.concatenate([m.action[w] for m, w in zip(flown, which, strict=True)])
        target = np.concatenate([r[w] for r, w in zip(reversed(returns), which, strict=True)]).astype(np.float32)
        if len(rows):
            self._learn(rows, is_open, taken, target, rate)
        return float(sum((moment.reward * moment.flying).sum() for moment in flown)) / settings.copies

    def network(self) -> Mlp:
        """Return the policy as plain arrays that read rows as they come."""
        parameters = [p.copy() for p in self.policy.parameters]
        first = parameters[0].astype(np.float64) / self._row_spread[:, None]
        parameters[1] = (parameters[1] - self._row_mean.astype(np.float64) @ first).astype(np.float32)
        parameters[0] = first.astype(np.float32)
        return Mlp(tuple(parameters[::2]), tuple(parameters[1::2]))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that a checkpoint must hold."""
        return {**self.policy.state("policy"), **self.baseline.state("baseline")}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up the state of a checkpoint."""
        self.policy.restore("policy", arrays)
        self.baseline.restore("baseline", arrays)

    def _learn(self, rows: FloatArray, is_open: Flags, taken: Actions, target: FloatArray, rate: float) -> None:
        advantage = target - self.baseline.forward(rows)[-1][:, 0]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
        flow = self.policy.forward(rows)
        chance = chances(flow[-1], is_open)
        chosen = np.zeros_like(chance)
        chosen[np.arange(len(rows)), taken] = 1.0
        log = np.log(np.maximum(chance, 1e-12))
        entropy = -(chance * log).sum(axis=1, keepdims=True)
        slope = advantage[:, None] * (chance - chosen) + self.settings.entropy * chance * (log + entropy)
        self.policy.descend(self.policy.backward(flow, (slope / len(rows)).astype(np.float32)), rate)
        for _ in range(self.settings.baseline_updates):
            flow = self.baseline.forward(rows)
            error = ((flow[-1] - target[:, None]) / len(rows)).astype(np.float32)
            self.baseline.descend(self.baseline.backward(flow, error), rate)

    def _scaled(self, rows: FloatArray) -> FloatArray:
        return np.asarray((rows - self._row_mean) / self._row_spread)

    def _scales(self, rng: np.random.Generator) -> None:
        """Measure middle and spread of the rows, and the spread of a slot's reward, under choices by chance."""
        first = TRAIN_SEED * (self._seed + 1)
        flown = list(missions(self._scenario, 64, first, lambda row, is_open: at_random(rng, is_open), self._orbits))
        rows = np.concatenate([moment.row for moment in flown])
        self._row_mean, spread = rows.mean(axis=0), rows.std(axis=0)
        self._row_spread: FloatArray = np.where(spread < 1e-4, np.float32(1.0), spread)
        self._spread = float(np.std([moment.reward for moment in flown])) or 1.0


def train_gradient(
    scenario: Scenario,
    *,
    steps: int,
    seed: int,
    out: Path,
    progress: Progress,
    grid: Sequence[GradientSettings] | None = None,
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
    store = Checkpoint(out / "checkpoint" / "policy-gradient.npz", {**plan, "grid": [asdict(point) for point in grid]})
    practice = _Practice(scenario, grid, steps, seed, orbits, store, progress)
    try:
        practice.tune()
        practice.train()
    except KeyboardInterrupt:
        practice.save()
        raise TrainingInterrupted(
            f"Training stopped after {practice.flown} slots. Run the same again to go on from {out}."
        ) from None
    return _export(practice, scenario, seed, orbits, out)


class _Practice:
    """Tuning and training with what is known so far."""

    def __init__(
        self,
        scenario: Scenario,
        grid: tuple[GradientSettings, ...],
        steps: int,
        seed: int,
        orbits: float | None,
        store: Checkpoint,
        progress: Progress,
    ) -> None:
        self.scenario, self.grid, self._seed, self._orbits = scenario, grid, seed, orbits
        self._store, self._progress = store, progress
        self._slots = timeline_of(scenario, orbits).episode_slots * grid[0].copies
        self.rounds = max(1, -(-steps // self._slots))
        self.worths: list[float] = []
        self.points: list[CurvePoint] = []
        self.number, self.best_worth = 0, -np.inf
        self.best: dict[str, NDArray[Any]] = {}
        self.learner: Learner | None = None
        self._held: dict[str, NDArray[Any]] = {}
        if kept := store.load():
            arrays, state = kept
            self.worths, self.number, self.best_worth = state["worths"], state["number"], state["best_worth"]
            self.points = [CurvePoint(*point) for point in state["points"]]
            self.best = {n.removeprefix("best."): a for n, a in arrays.items() if n.startswith("best.")}
            if "now.policy.p0" in arrays:
                self.learner = Learner(scenario, self.settings, seed, orbits)
                self.learner.restore({n.removeprefix("now."): a for n, a in arrays.items() if n.startswith("now.")})
                self._hold(self.learner)

    @property
    def flown(self) -> int:
        """Slots flown with the setting that is trained in full."""
        return self.number * self._slots

    @property
    def settings(self) -> GradientSettings:
        """The best setting of the grid."""
        return self.grid[int(np.argmax(self.worths))]

    def tune(self) -> None:
        """Try each setting that was not yet tried."""
        part = max(1, self.rounds // TUNE_PART)
        while len(self.worths) < len(self.grid) and len(self.grid) > 1:
            point = self.grid[len(self.worths)]
            learner = Learner(self.scenario, point, self._seed, self._orbits)
            for number in range(part):
                learner.fly(number, part)
            self.worths.append(self._keep_best(learner))
            line = f"tried rate {point.learning_rate:g}, discount {point.discount:g}, entropy {point.entropy:g}"
            self._progress(len(self.worths), len(self.grid), f"{line}: {self.worths[-1]:.2f} per mission")
        self.worths = self.worths or [0.0]

    def train(self) -> None:
        """Train the best setting in full; the network that ever did best on the validation missions is kept."""
        learner = self.learner = self.learner or Learner(self.scenario, self.settings, self._seed, self._orbits)
        every = max(1, self.rounds // SNAPSHOTS)
        while self.number < self.rounds:
            reward = learner.fly(self.number, self.rounds)
            self.number += 1
            self._hold(learner)
            self.points.append(CurvePoint(self.flown, self.number * self.settings.copies, reward, 0.0))
            if self.number % every == 0 or self.number == self.rounds:
                self._keep_best(learner)
                self.save()
            self._progress(self.flown, self.rounds * self._slots, f"reward {reward:.2f} per mission")

    def save(self) -> None:
        """Write the checkpoint, as of the last whole round."""
        arrays = {**{f"best.{name}": array for name, array in self.best.items()}, **self._held}
        state = {
            "worths": self.worths,
            "number": self.number,
            "best_worth": self.best_worth,
            "points": [[p.step, p.episodes, p.reward_mean, p.exploration_frac] for p in self.points],
        }
        self._store.save(arrays, state)

    def network(self) -> Mlp:
        """Return the best network so far."""
        layers = len(self.best) // 2
        return Mlp(tuple(self.best[f"w{i}"] for i in range(layers)), tuple(self.best[f"b{i}"] for i in range(layers)))

    def _hold(self, learner: Learner) -> None:
        self._held = {f"now.{name}": array.copy() for name, array in learner.state().items()}

    def _keep_best(self, learner: Learner) -> float:
        network = learner.network()
        worth = self._worth(network)
        if worth > self.best_worth:
            self.best_worth = worth
            self.best = {f"w{i}": weight for i, weight in enumerate(network.weights)}
            self.best |= {f"b{i}": bias for i, bias in enumerate(network.biases)}
        return worth

    def _worth(self, network: Mlp) -> float:
        return worth_on(self.scenario, lambda row, is_open: best_open(network(row), is_open), self._orbits)


def _export(practice: _Practice, scenario: Scenario, seed: int, orbits: float | None, out: Path) -> Practised:
    """Write the arrays, prove that the file chooses alike, then card and curve. No proof, no file."""
    network = practice.network()
    rows, is_open = visited(scenario, seed, lambda row, flags: best_open(network(row), flags), orbits)
    trained = {
        "steps": practice.flown,
        "seed": seed,
        **asdict(practice.settings),
        "settings_tried": len(practice.worths),
        "validation_reward": practice.best_worth,
        "agreement_states": len(rows),
    }
    path = out / f"policy-gradient-{scenario.name}.npz"
    path.with_suffix(".json").unlink(missing_ok=True)  # the card of an older file would refuse this one
    file = save_policy_file(path, network, describe("policy-gradient", scenario, trained))
    read = load_policy_file(path).network
    ours = np.array([np.where(flags, read(row), -np.inf).argmax() for row, flags in zip(rows, is_open, strict=True)])
    agreement = float(np.mean(ours == best_open(network(rows), is_open)))
    if agreement < 1.0:
        path.unlink()
        raise TrainingError(f"The file chooses otherwise on {1 - agreement:.2%} of {len(rows)} states. None was kept.")
    title = f"policy gradient in {scenario.name}, seed {seed}"
    return write_results(path, file, practice.points, title, practice.flown, agreement)
