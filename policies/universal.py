"""One network for any mission and pool: it scores one option at a time, described by what it does, not by its index.

    score(option) = w3 . relu(W2 relu(Wg slot + Wo option + b1) + b2)

``slot`` are the row's live and steady blocks, ``option`` the option's own block; idling is an option that does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from power_sim.observation import LIVE_SIZE, OBSERVATION_LAYOUT, OPTION_SIZE, STEADY_SIZE, observe
from power_sim.slot import SlotState

from .decision import Decision, choose, idle
from .errors import PolicyFileError
from .network import FloatArray, Mlp, PolicyFile
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
        row, options = observe(state), len(state.options)
        desk = self.desks.get(options)
        if desk is None:
            desk = self.desks[options] = make_desk(self.network, options)
        scores = desk.scores(row)
        end = LIVE_SIZE + OPTION_SIZE * options
        flags: list[float] = row[LIVE_SIZE:end:OPTION_SIZE].tolist()
        best, second = _two_best(scores, flags, state.may_idle)
        reason = f"{_name(state, best)} scores {scores[best]:.2f}"
        if second is not None:
            reason += f", {_name(state, second)} {scores[second]:.2f}"
        reason += f", {charge(state)}"
        return idle(reason) if best == options else choose(state.options, best, reason)


def _two_best(scores: list[float], flags: list[float], may_idle: bool) -> tuple[int, int | None]:
    """Return the best and the second best of the choices that are open; the last of ``scores`` is that of idling.

    Idling is open where it is allowed or nothing else is. The first of equal scores comes first.

    >>> _two_best([2.0, 5.0, 3.0, 9.0], [1.0, 1.0, 1.0], may_idle=False)
    (1, 2)
    """
    best: int | None = None
    second: int | None = None
    for index, flag in enumerate(flags):
        if flag > 0.0:
            if best is None or scores[index] > scores[best]:
                best, second = index, best
            elif second is None or scores[index] > scores[second]:
                second = index
    last = len(flags)
    if best is None:
        return last, None
    if may_idle:
        if scores[last] > scores[best]:
            return last, best
        if second is None or scores[last] > scores[second]:
            second = last
    return best, second


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """``score`` for one row at a time, in memory that is laid out once: the same operations, the same numbers."""

    slot: FloatArray
    blocks: FloatArray
    """(options + 1, OPTION_SIZE); the last stands for idling."""
    filled: FloatArray
    """The options' part of ``blocks``, as one row."""
    of_slot: FloatArray
    """The slot's part of the first layer."""
    of_option: FloatArray
    lift: FloatArray
    """(hidden,): what the slot gives to the first layer."""
    first: FloatArray
    """(options + 1, hidden)."""
    layers: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]
    """Weight, bias and memory of each layer between the first and the last."""
    bias: FloatArray
    last: FloatArray

    def scores(self, row: FloatArray) -> list[float]:
        """Return (options + 1) scores of one row."""
        slot, hidden, lift = self.slot, self.first, self.lift
        end = LIVE_SIZE + len(self.filled)
        slot[:LIVE_SIZE] = row[:LIVE_SIZE]
        slot[LIVE_SIZE:] = row[end:]
        self.filled[:] = row[LIVE_SIZE:end]
        np.dot(self.blocks, self.of_option, hidden)
        np.dot(slot, self.of_slot, lift)
        lift += self.bias
        hidden += lift
        np.maximum(hidden, 0.0, out=hidden)
        for weight, bias, memory in self.layers:
            np.dot(hidden, weight, memory)
            memory += bias
            hidden = np.maximum(memory, 0.0, out=memory)
        scores: list[float] = np.dot(hidden, self.last).ravel().tolist()
        return scores


def make_desk(network: Mlp, options: int) -> Desk:
    """Return the memory to score ``options`` options and idling with a network."""
    blocks = np.zeros((options + 1, OPTION_SIZE), np.float32)
    blocks[options, 0] = 1.0
    first, hidden = network.weights[0], network.weights[0].shape[1]
    between = zip(network.weights[1:-1], network.biases[1:-1], strict=True)
    return Desk(
        np.zeros(SLOT_SIZE, np.float32),
        blocks,
        blocks[:options].reshape(-1),
        first[:SLOT_SIZE],
        first[SLOT_SIZE:],
        np.zeros(hidden, np.float32),
        np.zeros((options + 1, hidden), np.float32),
        tuple((weight, bias, np.zeros((options + 1, len(bias)), np.float32)) for weight, bias in between),
        network.biases[0],
        network.weights[-1],
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


def _name(state: SlotState, index: int) -> str:
    return state.options[index].model if index < len(state.options) else "idle"
