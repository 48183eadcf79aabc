"""Sums and orders that several parts of the page share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from ..errors import MissionError
from ..records import SlotRecord
from .figures import SHAPES, Scale
from .model import ReplayReport

IDLE = "idle"
_SUMMED = (
    "budget_j", "harvest_j", "load_j", "arrived_tile", "admitted_tile", "shed_tile", "energy_j", "pass_s",
    "sent_product",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How one model is drawn everywhere: a colour class and a symbol."""

    css: str
    shape: str


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """One model over all slots that it ran in; counts and joules are of the admitted tiles."""

    model: str
    slots: int
    tiles: int
    energy_j: float
    correct_sampled: int
    scored_sampled: int
    correct_tiles: float
    """Admitted tiles times the slot's measured accuracy, over the slots where it was measured."""
    correct_energy_j: float
    """Joules of those same slots."""

    @property
    def accuracy_frac(self) -> float:
        """Share of the scored sample that was right; NaN without one."""
        return self.correct_sampled / self.scored_sampled if self.scored_sampled else math.nan

    @property
    def energy_per_tile_j(self) -> float:
        """Joules per admitted tile; NaN where none was."""
        return self.energy_j / self.tiles if self.tiles else math.nan

    @property
    def aee_per_j(self) -> float:
        """Right answers per joule, over the slots where accuracy was measured."""
        return self.correct_tiles / self.correct_energy_j if self.correct_energy_j > 0 else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Digest:
    """The report with what follows from it."""

    report: ReplayReport
    starts_unix_s: tuple[float, ...]
    slot_s: float
    models: tuple[str, ...]
    """Pool order, ``idle`` last where it occurs."""
    uncut: Digest | None = None
    """The flight slot by slot, where a slot here stands for several."""

    @property
    def whole(self) -> Digest:
        """The flight slot by slot."""
        return self.uncut or self

    @property
    def slots(self) -> Sequence[SlotRecord]:
        """The report's slots."""
        return self.report.slots

    @property
    def end_unix_s(self) -> float:
        """End of the last slot."""
        return self.starts_unix_s[-1] + self.slot_s

    @property
    def placed(self) -> bool:
        """Whether the scenario has a place on Earth."""
        return len(self.report.track.unix_s) > 0

    @property
    def time(self) -> Scale:
        """The time axis that every drawing of the flight shares."""
        return Scale(self.starts_unix_s[0], self.end_unix_s)

    def column(self, read: Callable[[SlotRecord], float]) -> list[float]:
        """Return one figure of every slot."""
        return [float(read(slot)) for slot in self.slots]

    def look(self, model: str) -> Look:
        """Return how ``model`` is drawn; a seventh model shares the look of the first, and has its name beside it."""
        if model == IDLE:
            return Look("m-idle", "s-ring")
        order = self.models.index(model)
        return Look(f"m{order % len(SHAPES)}", SHAPES[order % len(SHAPES)])

    def totals(self, model: str) -> ModelTotals:
        """Return the sums over the slots that ``model`` ran in."""
        mine = [slot for slot in self.slots if slot.model == model]
        scored = [slot for slot in mine if slot.scored_sampled and math.isfinite(slot.accuracy_frac)]
        return ModelTotals(
            model=model,
            slots=len(mine),
            tiles=sum(slot.admitted_tile for slot in mine),
            energy_j=sum(slot.energy_j for slot in mine),
            correct_sampled=sum(slot.correct_sampled for slot in mine),
            scored_sampled=sum(slot.scored_sampled for slot in mine),
            correct_tiles=sum(slot.admitted_tile * slot.accuracy_frac for slot in scored),
            correct_energy_j=sum(slot.energy_j for slot in scored),
        )


def digest(report: ReplayReport) -> Digest:
    """Return the report's shared sums; a start time that is no ISO 8601 time is a `MissionError`."""
    starts = tuple(unix_s(slot.start_utc) for slot in report.slots)
    between = starts[1] - starts[0] if len(starts) > 1 else 60.0
    used = {slot.model for slot in report.slots}
    pool = [package.model for package in report.packages]
    models = [*dict.fromkeys(pool), *sorted(used - set(pool) - {IDLE})]
    return Digest(report, starts, report.slot_s or between, (*models, *([IDLE] if IDLE in used else [])))


def coarse(flight: Digest, most: int) -> tuple[Digest, int]:
    """Return the flight with equal numbers of slots put together so that at most ``most`` are left, and that number."""
    per_mark = -(-len(flight.slots) // most)
    if per_mark <= 1:
        return flight, 1
    groups = [flight.slots[first : first + per_mark] for first in range(0, len(flight.slots), per_mark)]
    report = replace(flight.report, slots=[_merged(group) for group in groups])
    return replace(
        flight,
        report=report,
        starts_unix_s=flight.starts_unix_s[::per_mark],
        slot_s=flight.slot_s * per_mark,
        uncut=flight,
    ), per_mark


def _merged(group: Sequence[SlotRecord]) -> SlotRecord:
    """Return one slot for several: loads are summed, charge is lowest, heat highest, the model the commonest."""
    summed = {name: sum(getattr(slot, name) for slot in group) for name in _SUMMED}
    return replace(
        group[0],
        **summed,
        model=Counter(slot.model for slot in group).most_common(1)[0][0],
        overruled=next((slot.overruled for slot in group if slot.overruled), ""),
        charge_frac=min(slot.charge_frac for slot in group),
        temperature_c=max(slot.temperature_c for slot in group),
        sunlit_frac=sum(slot.sunlit_frac for slot in group) / len(group),
        backlog_product=group[-1].backlog_product,
        reserve_violated=any(slot.reserve_violated for slot in group),
    )


def unix_s(utc: str) -> float:
    """Return seconds since 1970 of an ISO 8601 time; one without an offset is UTC.

    >>> unix_s("1970-01-01T00:01:00Z")
    60.0
    """
    try:
        moment = datetime.fromisoformat(utc.replace("Z", "+00:00"))
    except ValueError as cause:
        raise MissionError(f"{utc!r} is no ISO 8601 time. Write slot starts like 2024-03-20T12:00:00Z.") from cause
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def wilson95(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share (Wilson 1927, JASA 22, eq. for z = 1.96); NaN without a sample.

    >>> low, high = wilson95(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    if total <= 0:
        return math.nan, math.nan
    z, share = 1.959964, right / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    bottom = 1 + z * z / total
    return (centre - half) / bottom, (centre + half) / bottom


def runs(flags: Iterable[bool]) -> list[tuple[int, int]]:
    """Return ``[first, last)`` of each unbroken run of true.

    >>> runs([True, True, False, True])
    [(0, 2), (3, 4)]
    """
    found: list[tuple[int, int]] = []
    for index, flag in enumerate(flags):
        if flag and found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        elif flag:
            found.append((index, index + 1))
    return found
