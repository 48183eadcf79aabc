"""What a replay is asked for, and everything that is known once it has flown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporters.package import ModelPackage
from policies.contest import Verdict
from power_sim.scenario import Scenario
from power_sim.simulator import MissionTrack

from .downlink.session import PassReport
from .frames.scenes import SceneSource
from .records import Product, SlotRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What to fly, with what, and where the results go."""

    scenario: str = "cubesat-6u"
    policy: str = "auto"
    seed: int = 0
    orbits: int | None = None
    """How long to fly; ``None`` takes the scenario's own length."""
    tiles_per_slot: int = 32
    threads: int = 1
    out: Path = Path("build/replay")
    packages: Path | None = None
    scenes: Path | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    infer: bool = True
    """Without, no tile is looked at: decisions, energy and heat fly alone, thousands of slots a second."""
    formats: frozenset[str] = frozenset()
    """What to write beside the report: names of ``runtime.exports.FORMATS``."""

    @property
    def command(self) -> str:
        """What to type to get the same results again."""
        sets = "".join(f" --set {key}={value}" for key, value in sorted(self.overrides.items()))
        orbits = "" if self.orbits is None else f"--orbits {self.orbits} "
        return (
            f"subsolar replay {self.scenario} --policy {self.policy} --seed {self.seed} {orbits}"
            f"--tiles-per-slot {self.tiles_per_slot}{'' if self.infer else ' --no-inference'}{sets}"
        )


@dataclass(frozen=True, kw_only=True)
class Flight:
    """Everything that is known once a flight has ended."""

    options: ReplayOptions
    scenario: Scenario
    packages: Mapping[str, ModelPackage]
    scenes: SceneSource
    policy: str
    slots: Sequence[SlotRecord]
    track: MissionTrack
    passes: Sequence[PassReport]
    products: Sequence[Product]
    delivered: frozenset[str]
    sent_in_slot: Mapping[str, int]
    ground: Mapping[str, object]
    verdict: Verdict | None = None
    """What ``auto`` stood for, where that was asked for."""
    ended: str = ""
    """Why it ended before its last slot; empty where it did not."""

    @property
    def complete(self) -> bool:
        """Whether it was flown to its last slot."""
        return not self.ended
