"""REINFORCE (Williams 1992) with a learned baseline and masked actions, in numpy, tuned on validation seeds.

Top to bottom: settings and the grid that is tried, a small network with its gradient, one learner. Tuning, checkpoint
and export are those of ``tuning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.observation import observation_size
from power_sim.scenario import Scenario

from .learned import action_names
from .network import FloatArray, Mlp, load_policy_file, save_policy_file
from .practice import TRAIN_SEED, Actions, Flags, Practised, Progress, at_random, best_open, missions
from .tuning import Arrays, Kind, practise

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

    @property
    def words(self) -> str:
        """What is tried, for the progress line."""
        return f"rate {self.learning_rate:g}, discount {self.discount:g}, entropy {self.entropy:g}"


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

    def restore(self, name: str, arrays: Arrays) -> None:
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
        self.actor = Net((inputs, hidden, hidden, len(action_names(scenario))), rng, 0.01)
        self.baseline = Net((inputs, hidden, hidden, 1), rng, 1.0)
        self._scales(rng)

    def fly(self, number: int, of: int) -> tuple[float, float]:
        """Fly round ``number`` of ``of`` and learn from it; returns mean reward per mission and no exploration."""
        settings, rng = self.settings, np.random.default_rng([self._seed, number])
        rate = settings.learning_rate * (1.0 - 0.9 * number / of)

        def draw(row: FloatArray, is_open: Flags) -> Actions:
            heap = chances(self.actor.forward(self._scaled(row))[-1], is_open).cumsum(axis=1)
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
        return float(sum((moment.reward * moment.flying).sum() for moment in flown)) / settings.copies, 0.0

    def kept(self) -> Arrays:
        """Return the policy as plain arrays that read rows as they come."""
        parameters = [p.copy() for p in self.actor.parameters]
        first = parameters[0].astype(np.float64) / self._row_spread[:, None]
        parameters[1] = (parameters[1] - self._row_mean.astype(np.float64) @ first).astype(np.float32)
        parameters[0] = first.astype(np.float32)
        return {f"best.{'b' if i % 2 else 'w'}{i // 2}": array for i, array in enumerate(parameters)}

    def policy(self, kept: Arrays) -> Mlp:
        """Return the network of what ``kept`` returned."""
        layers = range(len(kept) // 2)
        return Mlp(tuple(kept[f"best.w{i}"] for i in layers), tuple(kept[f"best.b{i}"] for i in layers))

    def state(self) -> Arrays:
        """Return everything that a checkpoint must hold."""
        return {**self.actor.state("now.policy"), **self.baseline.state("now.baseline")}

    def restore(self, arrays: Arrays) -> None:
        """Take up the state of a checkpoint."""
        self.actor.restore("now.policy", arrays)
        self.baseline.restore("now.baseline", arrays)

    def _learn(self, rows: FloatArray, is_open: Flags, taken: Actions, target: FloatArray, rate: float) -> None:
        advantage = target - self.baseline.forward(rows)[-1][:, 0]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
        flow = self.actor.forward(rows)
        chance = chances(flow[-1], is_open)
        chosen = np.zeros_like(chance)
        chosen[np.arange(len(rows)), taken] = 1.0
        log = np.log(np.maximum(chance, 1e-12))
        entropy = -(chance * log).sum(axis=1, keepdims=True)
        slope = advantage[:, None] * (chance - chosen) + self.settings.entropy * chance * (log + entropy)
        self.actor.descend(self.actor.backward(flow, (slope / len(rows)).astype(np.float32)), rate)
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
    tried = tuple(grid or grid_for(scenario))
    return practise(KIND, scenario, tried, steps=steps, seed=seed, out=out, progress=progress, orbits=orbits)


KIND = Kind(
    name="policy-gradient",
    title="policy gradient",
    tune_part=6,
    tunes_one=False,
    snapshots=20,
    start=Learner,
    choose=lambda network, rows, is_open: best_open(network(rows), is_open),
    save=save_policy_file,
    load=lambda path: load_policy_file(path).network,
)
