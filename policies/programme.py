"""A mission as one linear programme (tiles by cover and option, queue, charge, heat in every slot), solved with HiGHS.

It relaxes one thing, that a slot runs one option on an even share of what waits, so that its optimum can only be too
high.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.dynamics import Plant
from power_sim.episode import draw_episode
from power_sim.scenario import Scenario
from power_sim.timeline import awake_j, timeline_of

from .errors import EvaluationError, NotInstalledError
from .frontier import lowest_charges

Float64Array = NDArray[np.float64]
ROUNDING_FRAC = 1e-7
"""Of the capacity: a craft that can only just idle must not make the programme infeasible by rounding."""
NO_SOLVER = "The exact bound needs the solver HiGHS. Install it: pip install 'subsolar[bound]'."


@dataclass(frozen=True, slots=True, eq=False)
class Mission:
    """All that a mission will bring, from its first slot or from a later one."""

    plant: Plant
    start_charge_j: float
    arrived_tile: Float64Array
    """(slots, covers), most valuable cover first."""
    stays: Float64Array
    """(covers,): 1 where leftovers wait, else 0."""
    gives: Float64Array
    """(slots, covers, options): points per tile."""
    energy_j: Float64Array
    """(slots, options): per tile, the least share of what the option's power mode draws beside its tiles included."""
    time_s: Float64Array
    """(slots, options): per tile."""
    net_j: Float64Array
    """(slots,): harvest less load."""
    floor_j: Float64Array
    """(slots,): charge that spending must leave after each slot."""
    sink_k: Float64Array
    """(slots,)."""

    def rest(self, slot: int, charge_j: float, queue_tile: Float64Array, reach: int) -> Mission:
        """Return up to ``reach`` slots from ``slot`` on, with tiles waiting from before."""
        part = slice(slot, slot + reach)
        arrived = self.arrived_tile[part].copy()
        arrived[0] += queue_tile
        return replace(
            self,
            start_charge_j=charge_j,
            arrived_tile=arrived,
            gives=self.gives[part],
            energy_j=self.energy_j[part],
            time_s=self.time_s[part],
            net_j=self.net_j[part],
            floor_j=self.floor_j[part],
            sink_k=self.sink_k[part],
        )

    def with_first(self, other: Mission, slot: int) -> Mission:
        """Return it with the networks' figures of its first slot as in ``slot`` of another."""

        def first(ours: Float64Array, theirs: Float64Array) -> Float64Array:
            return np.concatenate((theirs[slot : slot + 1], ours[1:]))

        return replace(
            self,
            gives=first(self.gives, other.gives),
            energy_j=first(self.energy_j, other.energy_j),
            time_s=first(self.time_s, other.time_s),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """The optimum and what it would pay."""

    value: float
    charge_per_j: Float64Array
    """(slots,): for charge after each slot."""
    tile: Float64Array
    """(slots, covers): for one more tile waiting in a slot."""


def mission_of(scenario: Scenario, seed: int, orbits: float | None = None) -> Mission:
    """Return what the mission of ``seed`` will bring."""
    line = timeline_of(scenario, orbits)
    episode = draw_episode(scenario, line, seed)
    slots, part = episode.slots, slice(episode.first, episode.first + episode.slots)
    options = line.accuracy.shape[0]
    extra_j = least_awake_j(scenario, line.plant, episode.arrived_tile, episode.time_s)
    accuracy = line.accuracy.T[None, :, :] + np.broadcast_to(episode.accuracy_shift, (slots, options))[:, None, :]
    return Mission(
        plant=line.plant,
        start_charge_j=episode.initial_charge_j,
        arrived_tile=episode.arrived_tile,
        stays=line.queued * float(line.plant.queue_max_tile > 0),
        gives=line.value[None, :, None] * accuracy / scenario.reward.unit_tile,
        energy_j=np.broadcast_to(episode.energy_j, (slots, options)) + extra_j,
        time_s=np.broadcast_to(episode.time_s, (slots, options)),
        net_j=line.harvest_j[part] - line.load_j[part],
        floor_j=line.floor_j[part],
        sink_k=line.sink_k[part],
    )


def expected_mission(scenario: Scenario, seed: int, orbits: float | None = None) -> Mission:
    """Return what can be expected of the mission of ``seed`` without its draws: mean arrivals, the networks' means."""
    line, drawn = timeline_of(scenario, orbits), mission_of(scenario, seed, orbits)
    first, slots = draw_episode(scenario, line, seed).first, len(drawn.net_j)
    clear_frac = 1.0 - scenario.workload.cloud_mean_frac
    models, arrived = scenario.pool.models, line.mean_tile[first : first + slots] * clear_frac
    time_s = np.array([[model.time_s for model in models]])
    extra_j = least_awake_j(scenario, line.plant, arrived, time_s)
    return replace(
        drawn,
        arrived_tile=arrived,
        gives=np.broadcast_to(line.value[None, :, None] * line.accuracy.T[None], drawn.gives.shape)
        / scenario.reward.unit_tile,
        energy_j=np.broadcast_to([model.energy_j for model in models], drawn.energy_j.shape) + extra_j,
        time_s=np.broadcast_to(time_s, drawn.time_s.shape),
    )


def least_awake_j(scenario: Scenario, plant: Plant, arrived_tile: Float64Array, time_s: Float64Array) -> Float64Array:
    """Return (slots, options) what each tile bears of its mode's draw when as many share it as a slot can ever do.

    A slot that runs an option pays ``awake_j`` once. Spread over the most tiles that could share it, it is never too
    much, so that the programme's optimum stays an upper bound.
    """
    most = arrived_tile.sum(axis=1, keepdims=True) + plant.queue_max_tile
    most = np.maximum(np.minimum(most, plant.busy_s / time_s), 1.0)
    shared: Float64Array = np.array(awake_j(scenario)) / most
    return shared


def solve(mission: Mission) -> Prices:
    """Return the optimum of a mission; ``EvaluationError`` where no solver is installed."""
    programme, tile_rows, charge_rows = _build(mission)
    value, duals = programme.maximise()
    tile = np.array([[0.0 if row < 0 else duals[row] for row in slot] for slot in tile_rows])
    return Prices(value, duals[charge_rows], tile)


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

    def maximise(self) -> tuple[float, Float64Array]:
        """Return the optimum and the price of each row."""
        try:
            import highspy  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise NotInstalledError(NO_SOLVER) from error
        with _quiet_stdout():
            solver = highspy.Highs()  # type: ignore[no-untyped-call,unused-ignore]
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(self._model(highspy))
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise EvaluationError(
                f"The bound's programme ended as {solver.getModelStatus()}. Please report the scenario."
            )
        return float(solver.getInfo().objective_function_value), np.array(solver.getSolution().row_dual)

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


def _build(mission: Mission) -> tuple[_Programme, list[list[int]], list[int]]:
    """Return the programme, the row of each slot and cover (-1: never any tiles), and the charge row of each slot."""
    programme, plant, lowest_j = _Programme(), mission.plant, _lowest_j(mission)
    slots, covers = mission.arrived_tile.shape
    queue: list[int] = [-1] * covers
    charge, heat = programme.column(low=lowest_j[0], high=lowest_j[0]), -1
    tile_rows, charge_rows = [], []
    for slot in range(slots):
        waiting = [c for c in range(covers) if mission.arrived_tile[slot, c] > 0 or queue[c] >= 0]
        done = {c: [programme.column(float(give)) for give in mission.gives[slot, c]] for c in waiting}
        kept = {c: programme.column() for c in waiting if mission.stays[c]}
        share = programme.column(high=1.0)
        rows = [-1] * covers
        for c in waiting:
            work, arrived = [(x, 1.0) for x in done[c]], float(mission.arrived_tile[slot, c])
            before = [(queue[c], -1.0)] if queue[c] >= 0 else []
            rows[c] = programme.row([*work, *before, *([(kept[c], 1.0)] if c in kept else [])], high=arrived)
            programme.row([*work, (share, -arrived)], low=0.0)
            programme.row([*work, *before, (share, -arrived)], high=0.0)
        tile_rows.append(rows)
        if kept:
            programme.row([(q, 1.0) for q in kept.values()], high=plant.queue_max_tile)
        queue = [kept.get(c, -1) for c in range(covers)]
        spent = [(x, float(e)) for c in waiting for x, e in zip(done[c], mission.energy_j[slot], strict=True)]
        busy = [(x, float(t)) for c in waiting for x, t in zip(done[c], mission.time_s[slot], strict=True)]
        heat = _heat_rows(programme, mission, slot, heat, spent, busy)
        charge, row = _charge_rows(programme, mission, slot, charge, lowest_j[slot + 1], spent)
        charge_rows.append(row)
    return programme, tile_rows, charge_rows


def _charge_rows(
    programme: _Programme, mission: Mission, slot: int, before: int, low_j: float, spent: list[tuple[int, float]]
) -> tuple[int, int]:
    """Add a slot's energy balance; return the charge after it and the row that prices it."""
    plant, net_j = mission.plant, float(mission.net_j[slot])
    stored = programme.column(high=plant.max_charge_j / plant.charge_eff_frac)
    drawn = programme.column(high=max(plant.max_discharge_j, -net_j))
    slack_j = ROUNDING_FRAC * plant.capacity_j
    after = programme.column(low=min(low_j, plant.capacity_j) - slack_j, high=plant.capacity_j)
    unserved = programme.column(high=max(-net_j, 0.0) if low_j <= 0.0 else 0.0)
    programme.row([*spent, (stored, 1.0), (drawn, -1.0), (unserved, -1.0)], high=net_j)
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
    plant = mission.plant
    if np.isfinite(plant.busy_s) and busy:
        programme.row(busy, high=plant.busy_s)
    if not plant.thermal:
        return -1
    rest_k = float(mission.sink_k[slot]) * (1.0 - plant.keep_frac) + plant.rise_k_per_j * plant.idle_j
    after = programme.column(low=0.0, high=plant.limit_k)
    warmth = [(x, -plant.rise_k_per_j * energy_j) for x, energy_j in spent]
    if before < 0:
        return after
    programme.row([(after, 1.0), (before, -plant.keep_frac), *warmth], low=rest_k)
    slope = plant.busy_s / (plant.limit_k - plant.throttle_k)
    if busy:
        programme.row([*busy, (before, slope)], high=slope * plant.limit_k)
    return after


def _lowest_j(mission: Mission) -> list[float]:
    """Return the charge that spending can lead down to, at the start and after each slot."""
    plant, net_j = mission.plant, mission.net_j
    stored = np.minimum(np.maximum(net_j, 0.0) * plant.charge_eff_frac, plant.max_charge_j)
    change = stored - np.maximum(-net_j, 0.0) / plant.discharge_eff_frac
    return lowest_charges(mission.start_charge_j, change.tolist(), mission.floor_j.tolist())


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Keep the banner that newer solvers print on construction off standard output, which may carry JSON."""
    sys.stdout.flush()
    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)
