"""The networks that fly, watched: failed tiles, self-tests, speed, trials of new packages, and shadows beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from exporters.errors import ExporterError
from exporters.package import ModelPackage
from power_sim.slot import SlotState

from ..answers import ViewOf
from ..engines import Engine, MemoryBudget, self_test
from ..errors import EngineError, MissionError
from ..models import ModelSlots
from ..onboard import LoadedNetwork, load_networks, memory_name
from ..staged import StagedNetwork
from ..tasks.chain import Chain
from .blackbox import BlackBox
from .craftsman import ENOUGH_TILE, QUARANTINE_SLOTS, Craftsman, Shadow
from .metrics import Metrics
from .sections import ModelsSection

log = logging.getLogger(__name__)

CHAIN = "chain"
"""The package that a pool names for the chain of ``[[chain.stages]]``."""


@dataclass
class Fleet:
    """All networks of the pool, by the pool's names."""

    slots: ModelSlots
    section: ModelsSection
    clock: Callable[[], float]
    metrics: Metrics
    told: Callable[[str], None]
    """Where events go that the ground must hear of."""
    blackbox: BlackBox
    opener: Callable[[ModelPackage], Engine]
    memory: MemoryBudget
    batch_tile: int = 32
    chain: Chain | None = None
    """What the pool's networks of the package ``chain`` are made of."""
    worth: Mapping[str, float] = field(default_factory=dict)
    """Of a right answer, by the task of its package; 1 for tasks that are not named."""
    note: Callable[[LoadedNetwork, Sequence[Any], ViewOf, SlotState], None] | None = None
    """See ``Craftsman``."""
    placed: Callable[[LoadedNetwork], LoadedNetwork] = lambda network: network
    """What a network outside chains is made into, such as one that knows the gallery of the flight area."""
    networks: dict[str, Craftsman] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """Names whose package cannot be loaded, and why."""

    def load(self, names: dict[str, str]) -> dict[str, ModelPackage]:
        """Load every network of the pool (name -> package id); a trial that cannot be loaded is rolled back at once.

        Returns the packages that fly. Raises ``PackageError`` or ``EngineError`` where not one can be loaded.
        """
        old, self.networks, self.broken = self.networks, {}, {}
        error: Exception | None = None
        for name, package_id in names.items():
            try:
                self.networks[name] = self._load_one(name, package_id, old.get(name))
            except (ExporterError, EngineError, MissionError) as problem:  # noqa: PERF203  each network on its own
                error = problem
                self.broken[name] = str(problem)
                self.told(f"{name} cannot be loaded: {problem}")
        if not self.networks and error is not None:
            raise error
        self.hold()
        return {name: craftsman.loaded.package for name, craftsman in self.networks.items()}

    def fit(self, grid_px: int) -> None:
        """Let all networks take tiles of ``grid_px``, and value their answers as the mission does."""
        for one in self.networks.values():
            loaded = one.loaded
            if isinstance(loaded, StagedNetwork):
                loaded.grid_px = grid_px
                loaded.stages = tuple(self._valued(part) for part in loaded.stages)
            elif isinstance(loaded, LoadedNetwork):
                one.loaded = replace(self._valued(loaded), grid_px=grid_px)

    def _valued(self, network: LoadedNetwork) -> LoadedNetwork:
        return replace(network, worth=self.worth.get(network.package.info.task, 1.0))

    def begin_slot(self) -> None:
        """Start counting anew, and let engines that were built meanwhile take over."""
        for craftsman in self.networks.values():
            craftsman.begin_slot()

    def degraded(self) -> list[str]:
        """Return why engines do not run as the mission wants them to."""
        networks = [(one.name, part) for one in self.networks.values() for part in one.stages]
        found = ((name, getattr(part.engine, "health", None)) for name, part in networks)
        return [f"{name} runs on {at.provider}: {at.reason}" for name, at in found if at and at.state != "ready"]

    def hold(self) -> None:
        """Give back the memory of everything that is not loaded here."""
        names = [memory_name(one.name, part.package) for one in self.networks.values() for part in one.stages]
        names += [_shadow_name(one) for one in self.networks.values() if one.shadow is not None]
        self.memory.keep_only(names)

    def close(self, but: Iterable[Craftsman] = ()) -> None:
        """Close the engines of all networks, except of those that fly on in ``but``."""
        kept = {id(one) for one in but}
        for one in self.networks.values():
            if id(one) not in kept:
                self._end_shadow(one)
                for part in one.stages:
                    part.engine.close()

    def end_slot(self, slot: int, model: str, tile: int, seconds: float, energy_j: float | None) -> bool:
        """Judge the slot; true where another package has to be loaded now."""
        craftsman = self.networks.get(model)
        changed = False
        if craftsman is not None:
            self._count_restarts(craftsman)
        if craftsman is not None and tile > 0:
            craftsman.learn(tile, seconds, energy_j)
            changed = self._judge(craftsman, tile)
        if slot % self.section.golden_slots == self.section.golden_slots - 1:
            changed = self._self_tests() or changed
        return changed

    def shadow(self, name: str, package: ModelPackage) -> None:
        """Let a verified candidate look on."""
        self._end_shadow(self.networks[name])
        active = self.networks[name].loaded
        if isinstance(active, StagedNetwork):
            raise EngineError(f"{name} is a chain, which no shadow can look on beside. Name a single network.")
        network = replace(self._load({f"{name} (shadow)": package}), grid_px=active.grid_px)
        if _tiles_of(network) != _tiles_of(active):
            network.engine.close()
            self.hold()
            raise EngineError(
                f"{package.info.id} wants other tiles than {name}. A shadow sees what the active one sees."
            )
        self.networks[name].shadow = Shadow(network)

    def end_shadows(self) -> None:
        """Stop all comparisons."""
        for craftsman in self.networks.values():
            self._end_shadow(craftsman)

    def summary(self) -> list[dict[str, object]]:
        """Return one entry per network for the status."""
        rows: list[dict[str, object]] = []
        for name, one in self.networks.items():
            have, info = self.slots.of(one.package_id), one.loaded.package.info
            rows.append(
                {
                    "name": name,
                    "package": info.id,
                    "version": info.version,
                    "task": info.task,
                    "kind": info.output.kind,
                    "stages": [part.package.info.id for part in one.stages] if len(one.stages) > 1 else [],
                    "sha256": one.loaded.package.sha256,
                    "slot": one.slot_name,
                    "trial_slots_left": None if have.trial is None else have.trial.left_slots,
                    "refused": have.refused,
                    "healthy": one.healthy,
                    "quarantine": one.quarantine,
                    "tile_s": one.tile_s,
                    "shadow": None if one.shadow is None else _shadow_row(one.shadow),
                }
            )
        rows += [{"name": name, "healthy": False, "quarantine": why} for name, why in self.broken.items()]
        return rows

    def _end_shadow(self, one: Craftsman) -> None:
        if one.shadow is not None:
            one.shadow.network.engine.close()
            self.memory.give_back(_shadow_name(one))
        one.shadow = None

    def _load(self, package: dict[str, ModelPackage]) -> LoadedNetwork:
        """Load one network as the mission wants its engines."""
        network = self._stage(package)
        try:
            return self.placed(network)
        except (ExporterError, EngineError, MissionError):
            network.engine.close()
            raise

    def _stage(self, package: dict[str, ModelPackage]) -> LoadedNetwork:
        loaded = load_networks(package, memory=self.memory, batch_tile=self.batch_tile, opener=self.opener)
        (network,) = loaded.values()
        return self._valued(network)

    def _chained(self, name: str, old: Craftsman | None) -> Craftsman:
        """Return the chain, its stages loaded; one that is as before flies on."""
        if self.chain is None:
            raise MissionError(f"{name} is of the package {CHAIN!r}, but the mission has no [[chain.stages]].")
        packages = [self.slots.load(stage.package) for stage in self.chain.stages]
        hashes = [package.sha256 for package in packages]
        if old is not None and [part.package.sha256 for part in old.stages] == hashes:
            before = old.loaded
            if isinstance(before, StagedNetwork) and before.chain == self.chain:
                return old
        stages: list[LoadedNetwork] = []
        try:
            for package in packages:
                stages.append(self._stage({name: package}))  # noqa: PERF401  those before must be closed if one fails
            network = StagedNetwork(chain=self.chain, stages=tuple(stages))
        except (EngineError, MissionError):
            for part in stages:
                part.engine.close()
            raise
        last = self.chain.stages[-1].package
        return Craftsman(name, last, network, self.slots.of(last).flying, self.section.shadow_tile, self.blackbox)

    def _load_one(self, name: str, package_id: str, old: Craftsman | None) -> Craftsman:
        if package_id == CHAIN:
            return self._chained(name, old)
        trial = self.slots.of(package_id).trial
        try:
            return self._opened(name, package_id, old)
        except (ExporterError, EngineError) as error:
            if trial is None:
                return self._fallen_back(name, package_id, error)
            self.slots.rollback(package_id, str(error)[:300])
            self.told(f"{package_id}: the package on trial cannot be loaded and was rolled back: {error}")
            return self._opened(name, package_id, old)

    def _fallen_back(self, name: str, package_id: str, error: Exception) -> Craftsman:
        """Return the package before a damaged active one, where there is one."""
        have = self.slots.of(package_id)
        if have.before == have.active:
            raise error
        self.slots.rollback(package_id, str(error)[:300])
        self.told(f"{package_id}: the active package cannot be loaded, the one before flies: {error}")
        return self._opened(name, package_id, None)

    def _opened(self, name: str, package_id: str, old: Craftsman | None) -> Craftsman:
        have, began_s = self.slots.of(package_id), self.clock()
        package = self.slots.load(package_id)
        if old is not None and old.loaded.package.sha256 == package.sha256:
            old.slot_name = have.flying
            return old
        loaded = self._load({name: package})
        self.metrics.set("engine_build_seconds", self.clock() - began_s, model=name)
        before_s = None if old is None else old.tile_s
        return Craftsman(
            name,
            package_id,
            loaded,
            have.flying,
            self.section.shadow_tile,
            self.blackbox,
            before_tile_s=before_s,
            note=self.note,
        )

    def _judge(self, one: Craftsman, tile: int) -> bool:
        ended = one.done_tile + one.failed_tile
        failed_frac = one.failed_tile / ended if ended else 0.0
        on_trial = self.slots.of(one.package_id).trial is not None
        why = ""
        if ended >= ENOUGH_TILE and failed_frac > self.section.failed_max_frac:
            why = f"{one.failed_tile} of {ended} tiles failed"
        elif on_trial and one.tile_s and one.before_tile_s and one.tile_s > self.section.slower_max * one.before_tile_s:
            why = f"{one.tile_s * 1e3:.3g} ms a tile, {one.before_tile_s * 1e3:.3g} ms before"
        if why and on_trial:
            self._roll_back(one, why)
            return True
        if why:
            one.bar(why)
            self.told(f"{one.name} is left out for {QUARANTINE_SLOTS} slots: {why}")
        elif on_trial and ended >= ENOUGH_TILE and self.slots.worked(one.package_id):
            one.slot_name = self.slots.of(one.package_id).flying
            self.told(f"{one.package_id} v{one.loaded.package.info.version} has passed its trial and is kept")
        return False

    def _count_restarts(self, one: Craftsman) -> None:
        restarts = sum(int(getattr(part.engine, "restarts", 0)) for part in one.stages)
        lost = restarts - one.restarts if restarts >= one.restarts else restarts
        if lost:
            self.metrics.add("restarts_total", lost, cause="worker")
            self.told(f"{one.name}: its worker hung or died {lost} times and was started anew")
        one.restarts = restarts

    def _self_tests(self) -> bool:
        """Run the golden tiles of every network; a failure reloads it, a second one takes it out."""
        changed = False
        for one in self.networks.values():
            why = next((fault for part in one.stages if (fault := _golden_fault(part))), "")
            if not why:
                continue
            self.metrics.add("golden_tile_failures_total", model=one.name)
            if self.slots.of(one.package_id).trial is not None:
                self._roll_back(one, why)
                changed = True
                continue
            self.told(f"{one.name} fails its self-test and is loaded anew: {why}")
            changed = self._reload(one) or changed
        return changed

    def _reload(self, one: Craftsman) -> bool:
        if isinstance(one.loaded, StagedNetwork):
            one.bar("a stage of the chain fails its self-test")
            return False
        try:
            package, old = self.slots.load(one.package_id), one.loaded
            one.loaded = replace(self._load({one.name: package}), grid_px=old.grid_px)
            old.engine.close()
        except (ExporterError, EngineError) as error:
            one.bar(str(error))
            return True
        return False

    def _roll_back(self, one: Craftsman, why: str) -> None:
        self.slots.rollback(one.package_id, why)
        self.told(f"{one.package_id}: the package on trial was rolled back: {why}")


def _golden_fault(network: LoadedNetwork) -> str:
    try:
        self_test(network.engine, network.package)
    except EngineError as error:
        return str(error)
    return ""


def _tiles_of(network: LoadedNetwork) -> tuple[int, tuple[str, ...], str]:
    return network.tile_edge_px, network.bands, network.tile_dtype


def _shadow_name(one: Craftsman) -> str:
    return "" if one.shadow is None else memory_name(f"{one.name} (shadow)", one.shadow.network.package)


def _shadow_row(shadow: Shadow) -> dict[str, object]:
    info = shadow.network.package.info
    agreed = shadow.agreed_tile / shadow.tile if shadow.tile else float(np.nan)
    return {
        "package": info.id,
        "version": info.version,
        "tile": shadow.tile,
        "agreement_frac": agreed if shadow.tile else None,
        "failed_tile": shadow.failed_tile,
    }
