"""The networks that fly, watched: failed tiles, self-tests, speed, trials of new packages, and shadows beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exporters.errors import ExporterError
from exporters.package import ModelPackage
from power_sim.slot import SlotState

from ..answers import ViewOf, When
from ..engines import Engine, MemoryBudget, self_test
from ..errors import EngineError
from ..models import ModelSlots
from ..onboard import LoadedNetwork, load_networks, memory_name
from ..records import Product, Tile, TileOutcome
from .blackbox import BlackBox
from .metrics import Metrics
from .sections import ModelsSection

log = logging.getLogger(__name__)

ENOUGH_TILE = 4
"""Fewer tiles than this in a slot prove nothing."""
QUARANTINE_SLOTS = 10
SPEED_GAIN = 0.6
"""Weight of the newest slot in the running seconds and joules per tile: after three slots 94 % of a step is in."""


@dataclass
class Shadow:
    """A candidate that answers beside the active network and is only compared."""

    network: LoadedNetwork
    tile: int = 0
    agreed_tile: int = 0
    failed_tile: int = 0

    def score(self, tiles: Sequence[Tile], active: LoadedNetwork, view: ViewOf) -> None:
        """Compare what both find, tile by tile; a candidate that fails is counted and costs the slot nothing else.

        They agree on a tile where they give the same labels, each as often.
        """
        for tile in tiles:
            found, outcomes = self.network.answer([tile], view)
            self.tile += 1
            if outcomes[0].outcome == "failed":
                self.failed_tile += 1
            else:
                theirs, _ = active.answer([tile], view)
                self.agreed_tile += _labels(self.network, found, view) == _labels(active, theirs, view)


@dataclass
class Craftsman:
    """One network of the pool with its record. Stands in the slot loop as the network itself."""

    name: str
    package_id: str
    loaded: LoadedNetwork
    slot_name: str
    shadow_tile: int
    blackbox: BlackBox
    shadow: Shadow | None = None
    done_tile: int = 0
    failed_tile: int = 0
    quarantined_slots: int = 0
    quarantine: str = ""
    tile_s: float | None = None
    """Running seconds per tile; ``None`` until it has worked here."""
    energy_j: float | None = None
    restarts: int = 0
    """Lost workers that have been told."""
    before_tile_s: float | None = None
    """Of the package that this one replaces."""

    @property
    def tile_edge_px(self) -> int:
        """See ``Network``."""
        return self.loaded.tile_edge_px

    @property
    def bands(self) -> tuple[str, ...]:
        """See ``Network``."""
        return self.loaded.bands

    @property
    def tile_dtype(self) -> str:
        """See ``Network``."""
        return self.loaded.tile_dtype

    @property
    def healthy(self) -> bool:
        """Whether it may be chosen."""
        return self.quarantined_slots == 0

    def answer(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[Any, list[TileOutcome]]:
        """Infer, count, and let the shadow look at the first tiles."""
        self.blackbox.working(self.name, [tile.ref.frame_id for tile in tiles])
        found, outcomes = self.loaded.answer(tiles, view)
        done_tile = sum(outcome.outcome == "done" for outcome in outcomes)
        self.done_tile += done_tile
        self.failed_tile += len(outcomes) - done_tile
        if self.shadow is not None:
            self.shadow.score(tiles[: self.shadow_tile], self.loaded, view)
        return found, outcomes

    def products(self, findings: Sequence[Any], view: ViewOf, state: SlotState) -> list[Product]:
        """See ``Network``."""
        return self.loaded.products(findings, view, state)

    def begin_slot(self) -> None:
        """Forget what the last slot counted."""
        self.done_tile = self.failed_tile = 0
        begin = getattr(self.loaded.engine, "begin_slot", None)
        if begin is not None:
            begin()
        self.quarantined_slots = max(self.quarantined_slots - 1, 0)
        if self.quarantined_slots == 0:
            self.quarantine = ""

    def learn(self, tile: int, seconds: float, energy_j: float | None) -> None:
        """Follow what the slot's tiles really took."""
        if tile < ENOUGH_TILE or not seconds > 0:
            return
        now_s = seconds / tile
        self.tile_s = now_s if self.tile_s is None else self.tile_s + SPEED_GAIN * (now_s - self.tile_s)
        if energy_j is not None and energy_j > 0:
            now_j = energy_j / tile
            self.energy_j = now_j if self.energy_j is None else self.energy_j + SPEED_GAIN * (now_j - self.energy_j)

    def bar(self, why: str, slots: int = QUARANTINE_SLOTS) -> None:
        """Take it out of the choice for some slots."""
        self.quarantine, self.quarantined_slots = why, slots + 1


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
            except (ExporterError, EngineError) as problem:  # noqa: PERF203  each network on its own
                error = problem
                self.broken[name] = str(problem)
                self.told(f"{name} cannot be loaded: {problem}")
        if not self.networks and error is not None:
            raise error
        self.hold()
        return {name: craftsman.loaded.package for name, craftsman in self.networks.items()}

    def begin_slot(self) -> None:
        """Start counting anew, and let engines that were built meanwhile take over."""
        for craftsman in self.networks.values():
            craftsman.begin_slot()

    def degraded(self) -> list[str]:
        """Return why engines do not run as the mission wants them to."""
        found = ((one.name, getattr(one.loaded.engine, "health", None)) for one in self.networks.values())
        return [f"{name} runs on {at.provider}: {at.reason}" for name, at in found if at and at.state != "ready"]

    def hold(self) -> None:
        """Give back the memory of everything that is not loaded here."""
        names = [memory_name(one.name, one.loaded.package) for one in self.networks.values()]
        names += [_shadow_name(one) for one in self.networks.values() if one.shadow is not None]
        self.memory.keep_only(names)

    def close(self, but: Iterable[Craftsman] = ()) -> None:
        """Close the engines of all networks, except of those that fly on in ``but``."""
        kept = {id(one) for one in but}
        for one in self.networks.values():
            if id(one) not in kept:
                self._end_shadow(one)
                one.loaded.engine.close()

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
        network = self._load({f"{name} (shadow)": package})
        active = self.networks[name].loaded
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
        loaded = load_networks(package, memory=self.memory, batch_tile=self.batch_tile, opener=self.opener)
        (network,) = loaded.values()
        return network

    def _load_one(self, name: str, package_id: str, old: Craftsman | None) -> Craftsman:
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
            name, package_id, loaded, have.flying, self.section.shadow_tile, self.blackbox, before_tile_s=before_s
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
        restarts = int(getattr(one.loaded.engine, "restarts", 0))
        lost = restarts - one.restarts if restarts >= one.restarts else restarts
        if lost:
            self.metrics.add("restarts_total", lost, cause="worker")
            self.told(f"{one.name}: its worker hung or died {lost} times and was started anew")
        one.restarts = restarts

    def _self_tests(self) -> bool:
        """Run the golden tiles of every network; a failure reloads it, a second one takes it out."""
        changed = False
        for one in self.networks.values():
            why = _golden_fault(one.loaded)
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
        try:
            package = self.slots.load(one.package_id)
            old, one.loaded = one.loaded, self._load({one.name: package})
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


def _labels(network: LoadedNetwork, found: Any, view: ViewOf) -> list[str]:
    products = network.reader.products([] if found is None else [found], view, When(0, 0.0))
    return sorted(product.label for product in products)


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
