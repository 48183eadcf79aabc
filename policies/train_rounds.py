"""Practice for the universal policy: it flies random missions, many at once, and what turned out well becomes likelier.

REINFORCE (Williams 1992). Each mission is flown by several copies that differ in their chance choices alone, and the
mean of the others is each copy's baseline, slot by slot (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for
free"). A round joins the gradients of a few missions in a fixed order, so that it does not matter who computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from power_sim.scenario import Scenario, load_scenario

from .missions import random_mission
from .network import FloatArray, Mlp
from .practice import TRAIN_SEED, Actions, Flags, best_open, missions
from .scorer import Scorer
from .universal import score, split

MOST_ADVANTAGE = 20.0
"""Mean slots that one choice may weigh at most."""
LEAST_RATE_FRAC = 0.05
"""What the learning rate falls to, in a straight line."""
WARM_ROUNDS = 20
MOST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How long and how widely is practised."""

    rounds: int = 2_400
    variants: int = 120
    """Random missions to draw from."""
    own_every: int = 6
    """Every so manieth variant is cubesat-6u as it ships, and every fourth of those the paper's set-up."""
    at_once: int = 4
    """Variants in a round."""
    missions: int = 16
    """Seeds of a variant in a round."""
    copies: int = 8
    """Flights of each."""
    learning_rate: float = 1e-3
    entropy: float = 0.01
    """What a nat of a choice's entropy earns at first, in mean slots; falls to nothing."""


class Mapped(Protocol):
    """Whoever computes the parts of a round."""

    def map(self, function: Callable[[Part], Learned], jobs: Iterable[Part], /) -> Iterator[Learned]:
        """Yield the results in the order of the jobs."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One variant of a round, as it is sent to whoever flies it."""

    seed: int
    number: int
    """Of the variant."""
    round: int
    settings: Rounds
    hidden: int
    arrays: Mapping[str, NDArray[Any]]
    """The network as it is now."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a part of a round came to."""

    gradient: dict[str, NDArray[np.float32]]
    slots: int
    """Flown by all copies."""


@lru_cache(maxsize=128)
def variant(seed: int, number: int, own_every: int) -> Scenario:
    """Return the mission that training knows under a number; equal arguments give equal missions."""
    if number % own_every:
        return random_mission(TRAIN_SEED * (seed + 1) + number)
    return load_scenario("paper" if number // own_every % 4 == 3 else "cubesat-6u")


class Practice:
    """A network that is practising: its optimiser and how many rounds it has flown."""

    def __init__(self, model: Scorer, seed: int, settings: Rounds) -> None:
        self.model, self.number = model, 0
        self._seed, self._settings = seed, settings
        self._learning = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))

    def fly_round(self, crew: Mapped) -> int:
        """Fly one round and learn from it; returns how many slots were flown."""
        settings, number = self._settings, self.number
        warm, left = min(1.0, (number + 1) / WARM_ROUNDS), 1.0 - number / settings.rounds
        for group in self._learning.param_groups:
            group["lr"] = settings.learning_rate * warm * (LEAST_RATE_FRAC + (1.0 - LEAST_RATE_FRAC) * left)
        arrays, hidden = self.model.state(), self.model.hidden
        parts = [
            Part(self._seed, which, number, settings, hidden, arrays) for which in _chosen(self._seed, number, settings)
        ]
        learned = list(crew.map(learn_part, parts))
        for name, parameter in self.model.named_parameters():
            mean = np.mean([part.gradient[name] for part in learned], axis=0)
            parameter.grad = torch.from_numpy(mean)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MOST_GRADIENT)
        self._learning.step()
        self.number += 1
        return sum(part.slots for part in learned)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that a checkpoint must hold, as arrays."""
        held = self._learning.state_dict()["state"]
        adam = {f"adam.{n}.{name}": value.numpy() for n, kept in held.items() for name, value in kept.items()}
        return {**adam, **{f"model.{name}": array for name, array in self.model.state().items()}}

    def restore(self, arrays: Mapping[str, NDArray[Any]], number: int) -> None:
        """Take up what ``state`` returned after ``number`` rounds."""
        self.number, held = number, dict[int, dict[str, torch.Tensor]]()
        for name, value in arrays.items():
            kind, _, rest = name.partition(".")
            if kind == "adam":
                place, _, what = rest.partition(".")
                held.setdefault(int(place), {})[what] = torch.from_numpy(value.copy())
        self.model.load({n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")})
        self._learning.load_state_dict({**self._learning.state_dict(), "state": held})


def learn_part(part: Part) -> Learned:
    """Fly one variant of a round and return the gradient of what is to be made smaller."""
    torch.set_num_threads(1)
    settings = part.settings
    scenario = variant(part.seed, part.number, settings.own_every)
    model = Scorer.of(part.hidden, part.arrays)
    flown = fly(model, scenario, part, np.random.default_rng([part.seed, part.round, part.number]))
    logits = model(torch.from_numpy(flown.slot), torch.from_numpy(flown.blocks))
    is_open = torch.from_numpy(flown.open)
    log = torch.log_softmax(logits[:, : is_open.shape[1]].masked_fill(~is_open, -1e9), dim=-1)
    taken = log.gather(1, torch.from_numpy(flown.action)[:, None])[:, 0]
    entropy = -(log.exp() * log.masked_fill(~is_open, 0.0)).sum(dim=-1).mean()
    bonus = settings.entropy * (1.0 - part.round / settings.rounds)
    loss = -(taken * torch.from_numpy(flown.advantage)).mean() - bonus * entropy
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return Learned(gradient, flown.slots)


@dataclass(frozen=True, slots=True, eq=False)
class Flown:
    """The choices of all copies in slots that left a choice. Arrays (choices, ...)."""

    slot: FloatArray
    blocks: FloatArray
    open: NDArray[np.bool_]
    action: NDArray[np.int64]
    advantage: FloatArray
    """By how much the rest of the mission went better than the other copies', in mean slots."""
    slots: int


def fly(model: Scorer, scenario: Scenario, part: Part, rng: np.random.Generator) -> Flown:
    """Fly the missions of a part, every copy with choices drawn from the softmax of the scores."""
    settings, network = part.settings, model.arrays()
    lanes, options = settings.missions * settings.copies, len(scenario.pool.models)
    first = TRAIN_SEED * (part.seed + 1) + part.number * 10_000 + part.round * settings.missions % 10_000

    def draw(row: FloatArray, is_open: Flags) -> Actions:
        scores = scores_of(network, options, row, is_open)
        return best_open(scores - np.log(-np.log(rng.uniform(1e-12, 1.0, scores.shape))), is_open)

    seen = list(missions(scenario, lanes, first, draw, drawn=settings.missions))
    opened, action, flew = (np.stack([getattr(m, name) for m in seen]) for name in ("open", "action", "flying"))
    reward = np.stack([moment.reward * moment.flying for moment in seen])
    to_go = reward[::-1].cumsum(axis=0)[::-1].reshape(len(seen), settings.copies, settings.missions)
    others = (to_go.sum(axis=1, keepdims=True) - to_go) / (settings.copies - 1)
    value = float(reward.sum(axis=0).mean())
    better = ((to_go - others) / max(value / len(seen), 1e-9)).reshape(len(seen), lanes)
    which = flew & (opened.sum(axis=2) > 1)
    slot, blocks = split(np.stack([moment.row for moment in seen])[which], options)
    return Flown(
        slot,
        blocks,
        opened[which],
        action[which].astype(np.int64),
        np.clip(better[which], -MOST_ADVANTAGE, MOST_ADVANTAGE).astype(np.float32),
        int(flew.sum()),
    )


def scores_of(network: Mlp, options: int, row: FloatArray, is_open: Flags) -> FloatArray:
    """Return the scores (n, actions) of rows as the vector simulator gives them."""
    return score(network, *split(np.ascontiguousarray(row), options))[:, : is_open.shape[1]]


def _chosen(seed: int, number: int, settings: Rounds) -> list[int]:
    """Return the variants of a round: all in turn, in an order of its own each time they have all been flown."""
    wanted = range(number * settings.at_once, (number + 1) * settings.at_once)
    turns = {place // settings.variants for place in wanted}
    orders = {turn: np.random.default_rng([seed, 7, turn]).permutation(settings.variants) for turn in turns}
    return [int(orders[place // settings.variants][place % settings.variants]) for place in wanted]
