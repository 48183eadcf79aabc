"""The most that a mission can be worth to one who knows it all: an upper bound, and a flight that nearly reaches it.

Scenarios with a battery that remembers are one linear programme over all slots, solved with HiGHS: tiles by cover and
option, queue, charge, temperature. It relaxes one thing, that a slot runs one option on an even share of what waits, so
that its optimum can only be too high. Scenarios of the paper's kind couple no slots, and the best option of each slot
is the optimum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.episode import Episode, draw_episode
from power_sim.scenario import Scenario
from power_sim.simulator import Simulator
from power_sim.slot import IDLE, SlotState, Work
from power_sim.timeline import Timeline, timeline_of

from .decision import Decision, Policy, choose, idle
from .errors import EvaluationError
from .frontier import lowest_charges
from .lookahead import cell_of
from .rules import Greedy
from .shield import Shield
from .survey import survey
from .worth import worth_of

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """What the optimum would pay. ``charge_per_j``: (slots,), for charge after each slot; ``tile``: (slots, covers)."""

    upper: float
    charge_per_j: Float64Array
    tile: Float64Array


def upper_bound(scenario: Scenario, seed: int, orbits: float | None = None) -> float:
    """Return a value that no policy can exceed in the mission of ``seed``.

    Raises ``EvaluationError`` where the scenario needs a solver and none is installed.
    """
    if timeline_of(scenario, orbits).plant.paper:
        return _slot_by_slot(scenario, seed, orbits)
    return prices_of(scenario, seed, orbits).upper


def _slot_by_slot(scenario: Scenario, seed: int, orbits: float | None) -> float:
    """Return the sum of each slot's best reward, on the budgets of a craft that has spent nothing before."""
    seen = replace(scenario, pool=replace(scenario.pool, visible=True))
    simulator, worth = Simulator(seen, seed, orbits), worth_of(scenario)
    total = 0.0
    while simulator.slot < simulator.slots:
        state = simulator.observe()
        options = survey(state)
        total += max(worth(state, state.options[i], options.works[i]) for i in options.allowed)
        simulator.advance(IDLE, None)
    return total


@dataclass(frozen=True, slots=True, eq=False)
class Mission:
    """All that a mission will bring; arrays begin at its first slot."""

    line: Timeline
    episode: Episode
    gives: Float64Array
    """(slots, covers, options): points per tile."""
    energy_j: Float64Array
    """(slots, options): per tile."""
    time_s: Float64Array
    """(slots, options): per tile."""
    net_j: Float64Array
    """(slots,): harvest less load."""
    lowest_j: list[float]
    """Charge that spending can lead down to, at the start and after each slot."""

    @property
    def arrived(self) -> Float64Array:
        """(slots, covers): tiles."""
        return self.episode.arrived_tile


def mission_of(scenario: Scenario, seed: int, orbits: float | None = None) -> Mission:
    """Return what the mission of ``seed`` will bring."""
    line = timeline_of(scenario, orbits)
    episode = draw_episode(scenario, line, seed)
    slots, part = episode.slots, slice(episode.first, episode.first + episode.slots)
    options = line.accuracy.shape[0]
    accuracy = line.accuracy.T[None, :, :] + np.broadcast_to(episode.accuracy_shift, (slots, options))[:, None, :]
    net = line.harvest_j[part] - line.load_j[part]
    plant = line.plant
    stored = np.minimum(np.maximum(net, 0.0) * plant.charge_eff_frac, plant.max_charge_j)
    change = stored - np.maximum(-net, 0.0) / plant.discharge_eff_frac
    return Mission(
        line=line,
        episode=episode,
        gives=line.value[None, :, None] * accuracy / scenario.reward.unit_tile,
        energy_j=np.broadcast_to(episode.energy_j, (slots, options)),
        time_s=np.broadcast_to(episode.time_s, (slots, options)),
        net_j=net,
        lowest_j=lowest_charges(episode.initial_charge_j, change.tolist(), line.floor_j[part].tolist()),
    )


def perfect_flight(scenario: Scenario, seed: int, orbits: float | None = None) -> float:
    """Return what one who knows the mission really flies home, through the simulator and under the shield's rules.

    A value that can be reached, so that the optimum lies between it and ``upper_bound``. It follows the prices of the
    linear programme, slot by slot.
    """
    seen = replace(scenario, pool=replace(scenario.pool, visible=True))
    simulator, worth = Simulator(seen, seed, orbits), worth_of(scenario)
    seer = None if timeline_of(scenario, orbits).plant.paper else _Seer(scenario, seed, orbits)
    shield, value, over = Shield(worth), 0.0, False
    policy: Policy = seer or Greedy(worth)
    while not over:
        state = simulator.observe()
        admitted = shield.admit(state, policy)
        index = admitted.decision.option_index
        outcome = simulator.advance(admitted.work, None if index is None else state.options[index])
        if seer is not None:
            seer.settle(admitted.work.tile)
        value, over = value + outcome.reward, outcome.truncated or outcome.terminated
    return value


class _Seer:
    """Chooses by worth now plus what the optimum would pay for the charge and the tiles that are left."""

    name = "perfect information"

    def __init__(self, scenario: Scenario, seed: int, orbits: float | None) -> None:
        self._mission, self._worth = mission_of(scenario, seed, orbits), worth_of(scenario)
        self._prices = prices_of(scenario, seed, orbits)
        self._cell = cell_of(self._mission.line.plant)
        self._queue = np.zeros(self._mission.arrived.shape[1])
        self._slot = 0

    def decide(self, state: SlotState) -> Decision:
        """Return the option of the best sum."""
        options = survey(state)
        scores: dict[int | None, float] = {None: self._left(state, IDLE)} if state.may_idle else {}
        for index in options.allowed:
            work = options.works[index]
            scores[index] = self._worth(state, state.options[index], work) + self._left(state, work)
        best = max(scores, key=lambda index: scores[index], default=None)
        return idle("worth more later") if best is None else choose(state.options, best, "worth most by the prices")

    def settle(self, tile: int) -> None:
        """Carry the queue on."""
        self._queue = self._kept(tile)
        self._slot += 1

    def _left(self, state: SlotState, work: Work) -> float:
        """Return what charge and queue are worth after ``work``, at the optimum's prices."""
        charge_j = self._cell.settled_j(state.charge_j, state.harvest_j - state.load_j - work.energy_j)
        worth = charge_j * float(self._prices.charge_per_j[self._slot])
        if self._slot + 1 < len(self._prices.tile):
            worth += float(self._kept(work.tile) @ self._prices.tile[self._slot + 1])
        return worth

    def _kept(self, tile: int) -> Float64Array:
        """Return the queue after ``tile`` tiles were done, most valuable covers first within its size."""
        line = self._mission.line
        mix = self._queue + self._mission.arrived[self._slot]
        waiting = float(mix.sum())
        left = np.floor(mix * (1.0 - tile / waiting) * line.queued) if waiting > 0 else mix
        room = np.maximum(line.plant.queue_max_tile - np.concatenate(([0.0], np.cumsum(left)[:-1])), 0.0)
        kept: Float64Array = np.minimum(left, room)
        return kept


class _Programme:
    """Rows and columns of a linear programme under construction."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self.rows: list[tuple[float, float]] = []
        self.entries: list[tuple[int, int, float]] = []

    def column(self, cost: float = 0.0, low: float = 0.0, high: float = np.inf) -> int:
        """Add a variable and return its number."""
        self.cost.append(cost)
        self.low.append(low)
        self.high.append(high)
        return len(self.cost) - 1

    def row(self, terms: Iterable[tuple[int, float]], low: float = -np.inf, high: float = np.inf) -> int:
        """Add ``low <= sum of terms <= high`` and return its number."""
        number = len(self.rows)
        self.rows.append((low, high))
        self.entries += [(number, column, value) for column, value in terms if value]
        return number

    def maximise(self) -> tuple[float, Float64Array, Float64Array]:
        """Return the optimum, the variables and the price of each row."""
        try:
            import highspy  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise EvaluationError(
                "The exact bound needs the solver HiGHS. Install it: pip install 'subsolar[bound]'"
            ) from error
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(self._model(highspy))
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise EvaluationError(
                f"The bound's programme ended as {solver.getModelStatus()}. Please report the scenario."
            )
        solution = solver.getSolution()
        value = float(solver.getInfo().objective_function_value)
        return value, np.array(solution.col_value), np.array(solution.row_dual)

    def _model(self, highspy: Any) -> Any:
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.cost), len(self.rows)
        model.sense_ = highspy.ObjSense.kMaximize
        model.col_cost_, model.col_lower_, model.col_upper_ = map(np.array, (self.cost, self.low, self.high))
        model.row_lower_ = np.array([low for low, _ in self.rows])
        model.row_upper_ = np.array([high for _, high in self.rows])
        row, column, value = (np.array(part) for part in zip(*self.entries, strict=True))
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.searchsorted(row, np.arange(len(self.rows) + 1))
        model.a_matrix_.index_, model.a_matrix_.value_ = column, value
        return model


def prices_of(scenario: Scenario, seed: int, orbits: float | None = None) -> Prices:
    """Solve the linear programme of a mission."""
    mission = mission_of(scenario, seed, orbits)
    programme, tile_rows, charge_rows = _build(mission)
    value, _, duals = programme.maximise()
    tile = np.array([[0.0 if row < 0 else duals[row] for row in slot] for slot in tile_rows])
    return Prices(value, duals[charge_rows], tile)


def _build(mission: Mission) -> tuple[_Programme, list[list[int]], list[int]]:
    """Return the programme, the row of each slot and cover (-1: never any tiles), and the charge row of each slot."""
    programme, plant = _Programme(), mission.line.plant
    slots, covers = mission.arrived.shape
    keeps = mission.line.queued * (plant.queue_max_tile > 0)
    queue: list[int] = [-1] * covers
    charge, heat = programme.column(low=mission.lowest_j[0], high=mission.lowest_j[0]), -1
    tile_rows, charge_rows = [], []
    for slot in range(slots):
        waiting = [c for c in range(covers) if mission.arrived[slot, c] > 0 or queue[c] >= 0]
        done = {c: [programme.column(float(give)) for give in mission.gives[slot, c]] for c in waiting}
        kept = {c: programme.column() for c in waiting if keeps[c]}
        rows = [-1] * covers
        for c in waiting:
            terms = [(x, 1.0) for x in done[c]]
            if c in kept:
                terms.append((kept[c], 1.0))
            if queue[c] >= 0:
                terms.append((queue[c], -1.0))
            rows[c] = programme.row(terms, high=float(mission.arrived[slot, c]))
        tile_rows.append(rows)
        if kept:
            programme.row([(q, 1.0) for q in kept.values()], high=plant.queue_max_tile)
        queue = [kept.get(c, -1) for c in range(covers)]
        spent = [(x, float(e)) for c in waiting for x, e in zip(done[c], mission.energy_j[slot], strict=True)]
        busy = [(x, float(t)) for c in waiting for x, t in zip(done[c], mission.time_s[slot], strict=True)]
        heat = _heat_rows(programme, mission, slot, heat, spent, busy)
        charge, row = _charge_rows(programme, mission, slot, charge, spent)
        charge_rows.append(row)
    return programme, tile_rows, charge_rows


def _charge_rows(
    programme: _Programme, mission: Mission, slot: int, before: int, spent: list[tuple[int, float]]
) -> tuple[int, int]:
    """Add a slot's energy balance; return the charge after it and the row that prices it."""
    plant, net_j = mission.line.plant, float(mission.net_j[slot])
    low_j = min(mission.lowest_j[slot + 1], plant.capacity_j)
    stored = programme.column(high=plant.max_charge_j / plant.charge_eff_frac)
    drawn = programme.column(high=max(plant.max_discharge_j, -net_j))
    after = programme.column(low=low_j, high=plant.capacity_j)
    programme.row([*spent, (stored, 1.0), (drawn, -1.0)], high=net_j)
    change = [(stored, -plant.charge_eff_frac), (drawn, 1.0 / plant.discharge_eff_frac)]
    return after, programme.row([(after, 1.0), (before, -1.0), *change], high=0.0)


def _heat_rows(
    programme: _Programme,
    mission: Mission,
    slot: int,
    before: int,
    spent: list[tuple[int, float]],
    busy: list[tuple[int, float]],
) -> int:
    """Add a slot's time and temperature limits; return the temperature after it (-1 without a thermal node)."""
    plant = mission.line.plant
    if np.isfinite(plant.busy_s) and busy:
        programme.row(busy, high=plant.busy_s)
    if not plant.thermal:
        return -1
    sink_k = float(mission.line.sink_k[mission.episode.first + slot])
    rest_k = sink_k * (1.0 - plant.keep_frac) + plant.rise_k_per_j * plant.idle_j
    after = programme.column(low=0.0, high=plant.limit_k)
    warmth = [(x, -plant.rise_k_per_j * energy_j) for x, energy_j in spent]
    if before < 0:
        return after
    programme.row([(after, 1.0), (before, -plant.keep_frac), *warmth], low=rest_k)
    slope = plant.busy_s / (plant.limit_k - plant.throttle_k)
    if busy:
        programme.row([*busy, (before, slope)], high=slope * plant.limit_k)
    return after
