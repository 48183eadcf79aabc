"""Everything that enters one slot's decision from outside, as one record: what a trace keeps and a replay hands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The facts of one slot. Whatever decides sees these, the scenario and the policy, and nothing else."""

    slot: int
    unix_s: float
    charge_j: float
    temperature_k: float
    arrived_tile: Mapping[str, int]
    """By cover."""
    queued_tile: Mapping[str, int]
    backlog_byte: int
    energy_j: tuple[float, ...]
    """Per tile and option of the pool, as last measured."""
    time_s: tuple[float, ...]
    healthy: tuple[bool, ...]
    """False where an option must not run: quarantined, paused, or barred by the brown-out ladder."""
    margin_j: float
    caution: str = ""
    """Why the cautious policy decides; empty where the mission's own does."""
    contact: bool | None = None
    """A pass that was started or stopped by command; ``None`` goes by the forecast."""
    downlink_max_byte: int | None = None
    latitude_rad: float | None = None
    """Where navigation says that the craft is; ``None`` goes by the orbit."""
    longitude_rad: float | None = None


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What the balance of the last slot says of this one."""

    charge_j: float | None = None
    temperature_k: float | None = None


class Facts(Protocol):
    """Reads the world at the start of a slot: from sensors aboard, from a trace on the ground."""

    def read(self, reckoned: Reckoned) -> Readings:
        """Return the facts of the slot that begins now."""
        ...
