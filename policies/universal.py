"""One network for any mission and pool: it scores one option at a time, described by what it does, not by its index.

    score(option) = w3 . relu(W2 relu(Wg slot + Wo option + b1) + b2)

``slot`` are the row's live and steady blocks, ``option`` the option's own block; idling is an option that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from power_sim.observation import LIVE_SIZE, OBSERVATION_LAYOUT, OPTION_SIZE, STEADY_SIZE, numbers
from power_sim.slot import SlotState

from .decision import Decision, choose, idle
from .errors import PolicyFileError
from .learned import action_name, two_best
from .network import ZERO, FloatArray, Mlp, PolicyFile, filler
from .words import charge

SLOT_SIZE = LIVE_SIZE + STEADY_SIZE


@dataclass(frozen=True, slots=True, eq=False)
class Universal:
    """Takes the allowed option of the best score, or idles where that scores better."""

    network: Mlp
    """Layers from (slot, option) to a score; the first takes ``SLOT_SIZE`` + ``OPTION_SIZE`` numbers."""
    name: str = "universal"
    desks: dict[int, Desk] = field(default_factory=dict, repr=False)
    """Memory to score in, by number of options: a policy is used by one thread at a time."""

    def decide(self, state: SlotState) -> Decision:
        """Return the option of the best score; an answer that is not a number is left to the shield."""
        live, blocks, steady = numbers(state)
        options = len(state.options)
        desk = self.desks.get(options)
        if desk is None:
            desk = self.desks[options] = make_desk(self.network, options)
        scores = desk.scores(live + steady + blocks)
        best, second = two_best(scores, blocks[::OPTION_SIZE], state.may_idle)
        runner_up = "" if second is None else f", {action_name(state, second)} {scores[second]:.2f}"
        reason = f"{action_name(state, best)} scores {scores[best]:.2f}{runner_up}, {charge(state)}"
        return idle(reason) if best == options else choose(state.options, best, reason)


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """``score`` for one row at a time, in memory that is laid out once: the same operations, the same numbers.

    Numpy adds arrays of one shape three times as fast as it stretches the smaller: what is added lies there in full.
    """

    fill: Callable[..., None]
    """Writes a slot's numbers into ``slot`` and the options' part of ``blocks``."""
    slot: FloatArray
    blocks: FloatArray
    """(options + 1, OPTION_SIZE); the last stands for idling."""
    of_slot: FloatArray
    """The slot's part of the first layer."""
    of_option: FloatArray
    bias: FloatArray
    lift: FloatArray
    """(hidden,): what the slot gives to the first layer."""
    lifts: FloatArray
    """(options + 1, hidden): the same for each option."""
    first: FloatArray
    """(options + 1, hidden)."""
    layers: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]
    """Weight, bias for each option, and memory of each layer between the first and the last."""
    last: FloatArray

    def scores(self, numbers: Sequence[float]) -> list[float]:
        """Return (options + 1) scores of a slot: live and steady block, horizons, then the options' blocks."""
        self.fill(*numbers)
        lift = self.slot.dot(self.of_slot, self.lift)
        self.lifts[...] = np.add(lift, self.bias, lift)
        hidden = self.blocks.dot(self.of_option, self.first)
        np.add(hidden, self.lifts, hidden)
        np.maximum(hidden, ZERO, out=hidden)
        for weight, bias, memory in self.layers:
            hidden = hidden.dot(weight, memory)
            np.add(hidden, bias, hidden)
            np.maximum(hidden, ZERO, out=hidden)
        scores: list[float] = hidden.dot(self.last).ravel().tolist()
        return scores


def make_desk(network: Mlp, options: int) -> Desk:
    """Return the memory to score ``options`` options and idling with a network."""
    memory = np.zeros(SLOT_SIZE + (options + 1) * OPTION_SIZE, np.float32)
    blocks = memory[SLOT_SIZE:].reshape(options + 1, OPTION_SIZE)
    blocks[options, 0] = 1.0
    first, hidden = network.weights[0], network.weights[0].shape[1]
    between = zip(network.weights[1:-1], network.biases[1:-1], strict=True)
    return Desk(
        fill=filler(memory[:-OPTION_SIZE]),
        slot=memory[:SLOT_SIZE],
        blocks=blocks,
        of_slot=first[:SLOT_SIZE],
        of_option=first[SLOT_SIZE:],
        bias=network.biases[0],
        lift=np.zeros(hidden, np.float32),
        lifts=np.zeros((options + 1, hidden), np.float32),
        first=np.zeros((options + 1, hidden), np.float32),
        layers=tuple(
            (weight, np.tile(bias, (options + 1, 1)), np.zeros((options + 1, len(bias)), np.float32))
            for weight, bias in between
        ),
        last=network.weights[-1],
    )


def split(row: FloatArray, options: int) -> tuple[FloatArray, FloatArray]:
    """Return (..., SLOT_SIZE) and (..., options + 1, OPTION_SIZE) of rows; the last block stands for idling."""
    end = LIVE_SIZE + OPTION_SIZE * options
    slot: FloatArray = np.concatenate((row[..., :LIVE_SIZE], row[..., end:]), axis=-1)
    blocks: FloatArray = np.zeros((*row.shape[:-1], options + 1, OPTION_SIZE), np.float32)
    blocks[..., :options, :] = row[..., LIVE_SIZE:end].reshape(*row.shape[:-1], options, OPTION_SIZE)
    blocks[..., options, 0] = 1.0
    return slot, blocks


def score(network: Mlp, slot: FloatArray, blocks: FloatArray) -> FloatArray:
    """Return (..., options + 1) scores; the slot's share of the first layer is computed once for all options."""
    first = network.weights[0]
    hidden: FloatArray = blocks @ first[SLOT_SIZE:]
    hidden += (slot @ first[:SLOT_SIZE] + network.biases[0])[..., None, :]
    np.maximum(hidden, 0.0, out=hidden)
    for weight, bias in zip(network.weights[1:-1], network.biases[1:-1], strict=True):
        hidden = hidden @ weight
        hidden += bias
        np.maximum(hidden, 0.0, out=hidden)
    scores: FloatArray = np.squeeze(hidden @ network.weights[-1], axis=-1)
    return scores


def describe_universal(scenarios: Mapping[str, str], trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description that a universal policy's file carries; ``scenarios`` maps names to hashes."""
    return {
        "kind": "universal",
        "layout": OBSERVATION_LAYOUT,
        "actions": ["each option of the slot", "idle"],
        "scenario": "any",
        "scenario_sha256": dict(scenarios),
        "trained": dict(trained),
    }


def universal_policy(file: PolicyFile, source: str) -> Universal:
    """Return the policy in a file, or say in a ``PolicyFileError`` why the file holds none for this version."""
    layout, sizes = file.about.get("layout"), (file.network.inputs, file.network.outputs)
    kind = file.about.get("kind")
    if kind != "universal":
        raise PolicyFileError(f"{source} holds a {kind!r} policy, not a universal one. Ask for {kind}:PATH.")
    if layout != OBSERVATION_LAYOUT:
        raise PolicyFileError(
            f"{source} reads observations of layout {layout!r}, this version makes {OBSERVATION_LAYOUT!r}. "
            "Train it anew: subsolar train universal"
        )
    if sizes != (SLOT_SIZE + OPTION_SIZE, 1):
        raise PolicyFileError(f"{source} holds a network of {sizes[0]} inputs and {sizes[1]} scores. Train it anew.")
    return Universal(file.network)
