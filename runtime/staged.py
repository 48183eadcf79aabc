"""A chain that flies: its stages see one tile after the other, and to the slot policy it is one network.

As on files (``runtime.pipeline.chaining``), the picture that a stage restores is what the next one sees, labels and
masks say where it looks, and nothing is said of pixels that were made up. Budgets count over a slot. What a stage did
not look at costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage
from power_sim.profiles import ModelProfile
from power_sim.slot import SlotState

from .answers import ViewOf
from .errors import MissionError
from .frames.bands import GENERATED
from .keepsakes import Kept
from .onboard import LoadedNetwork, Several, plain
from .parts import part_count, parts_of, whole_outcomes
from .pipeline.chaining import check_stages
from .records import FloatArray, Product, Tile, TileOutcome, TileRef
from .tasks import Boxes, ImageTask, MapTask
from .tasks.chain import Chain, Condition, Stage


@dataclass(slots=True, eq=False)
class _Scene:
    """What is known of one batch's tiles as they go from stage to stage."""

    tiles: list[Tile]
    """With the pixels that the next stage sees."""
    made_up: NDArray[np.bool_]
    """(n, edge, edge): pixels that a stage has made up."""
    promise: NDArray[np.float32] | None = None
    """(n, edge, edge): how sure the nearest pointing stage is of what the next one looks for."""


@dataclass(kw_only=True, eq=False)
class StagedNetwork:
    """The networks of a chain behind one door; see ``runtime.slot_loop.Network``."""

    chain: Chain
    stages: tuple[LoadedNetwork, ...]
    grid_px: int = 0
    """Edge of the tiles that it is handed; 0: that of the stage with the largest."""
    batch_cost: tuple[float, float] | None = None
    """Joules and seconds a tile that the last batch took by the profiles."""
    slot_j: float = 0.0
    slot_tile: int = 0
    _done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_stages(self.chain, [one.package for one in self.stages])
        kinds = {one.tile_dtype for one in self.stages}
        if len(kinds) > 1:
            raise MissionError(f"The chain mixes tiles of {' and '.join(sorted(kinds))}. Export its stages alike.")

    @property
    def tile_edge_px(self) -> int:
        """See ``Network``."""
        return max(self.grid_px, *(one.part_px for one in self.stages))

    @property
    def part_px(self) -> int:
        """Edge of the largest stage's tiles."""
        return max(one.part_px for one in self.stages)

    @property
    def bands(self) -> tuple[str, ...]:
        """Every band that a stage wants."""
        return tuple(dict.fromkeys(band for one in self.stages for band in one.bands))

    @property
    def tile_dtype(self) -> str:
        """See ``Network``."""
        return self.stages[0].tile_dtype

    @property
    def package(self) -> ModelPackage:
        """Of the last stage: the one whose answers count."""
        return self.stages[-1].package

    def answer(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[Any, list[TileOutcome]]:
        """Send one batch through all stages; a stage that fails on a tile fails it."""
        if not tiles:
            return None, []
        edge = tiles[0].ref.edge_px
        scene = _Scene(list(tiles), np.zeros((len(tiles), edge, edge), dtype=np.bool_))
        said: list[tuple[int, Any]] = []
        owners: list[int] = []
        ended: list[TileOutcome] = []
        spent_j = spent_s = 0.0
        for number, (stage, network) in enumerate(zip(self.chain.stages, self.stages, strict=True)):
            parts = self._chosen(stage, network, scene)
            for first in range(0, len(parts), stage.batch):
                batch = parts[first : first + stage.batch]
                found, outcomes, raw = network.run([part for _, part in batch], view)
                said += [] if found is None else [(number, self._allowed(network, found, scene))]
                owners += [owner for owner, _ in batch]
                ended += outcomes
                self._note(number, network, scene, batch, raw, found)
            cost = network.package.profile.entry_for(batch=stage.batch)
            spent_j += len(parts) * cost.energy_j_per_tile
            spent_s += len(parts) * cost.tile_s
        self.batch_cost = spent_j / len(tiles), spent_s / len(tiles)
        self.slot_j, self.slot_tile = self.slot_j + spent_j, self.slot_tile + len(tiles)
        return Several(tuple(said)), whole_outcomes(tiles, owners, ended)

    def products(self, findings: Sequence[Any], view: ViewOf, state: SlotState) -> list[Product]:
        """Return what all stages say but those whose pictures the next ones saw."""
        said = plain(findings)
        products: list[Product] = []
        for number, network in enumerate(self.stages):
            if number == len(self.stages) - 1 or not _makes_picture(network):
                products += network.products([found for at, found in said if at == number], view, state)
        return products

    def kept(self) -> dict[TileRef, Kept]:
        """See ``Keeping``."""
        kept: dict[TileRef, Kept] = {}
        for one in self.stages:
            kept |= one.kept()
        return kept

    def begin_slot(self) -> None:
        """Budgets begin anew."""
        self._done, self.slot_j, self.slot_tile = {}, 0.0, 0

    def profile_of(self, model: ModelProfile) -> ModelProfile:
        """Return ``model`` at what a tile costs at most, every stage on all of it, and as right as the last stage."""
        energy_j = time_s = 0.0
        for stage, one in zip(self.chain.stages, self.stages, strict=True):
            count = part_count(self.tile_edge_px, one.part_px, stage.overlap_px)
            entry = one.package.profile.entry_for(batch=stage.batch)
            energy_j, time_s = energy_j + count * entry.energy_j_per_tile, time_s + count * entry.tile_s
        right = self.package.profile.accuracy.value
        names = " then ".join(one.package.info.id for one in self.stages)
        return replace(
            model,
            accuracy_min_frac=right,
            accuracy_max_frac=right,
            energy_min_j=energy_j,
            energy_max_j=energy_j,
            time_min_s=time_s,
            time_max_s=time_s,
            recall_by_class={},
            energy_kind=self.package.profile.entry_for(batch=self.chain.stages[-1].batch).energy_kind,
            source=f"profiles of {names}, every stage on the whole tile",
        )

    def _chosen(self, stage: Stage, network: LoadedNetwork, scene: _Scene) -> list[tuple[int, Tile]]:
        """Parts of the tiles that a stage looks at, each with its tile's number, within the slot's budget."""
        bands = [self.bands.index(name) for name in network.bands]
        ranked: list[tuple[float, int, Tile]] = []
        for owner, tile in enumerate(scene.tiles):
            seen = Tile(tile.ref, tile.pixels[bands])
            for part in parts_of(seen, network.part_px, stage.overlap_px):
                where = _within(tile.ref, part.ref)
                if self._is_barred(network, scene.made_up[owner][where]):
                    continue
                worth = _promise(stage.only_where, scene, owner, where)
                if worth > 0.0:
                    ranked.append((worth, owner, part))
        most = _most(stage, network)
        if most is not None:
            left = max(most - self._done.get(stage.name, 0), 0)
            best = sorted(range(len(ranked)), key=lambda at: (-ranked[at][0], at))[:left]
            ranked = [ranked[at] for at in sorted(best)]
        self._done[stage.name] = self._done.get(stage.name, 0) + len(ranked)
        return [(owner, part) for _, owner, part in ranked]

    def _is_barred(self, network: LoadedNetwork, made_up: NDArray[np.bool_]) -> bool:
        """Whether nothing may be said of a part; boxes are judged one by one."""
        if not self.chain.forbid_detection_on_generated or _makes_picture(network):
            return False
        return bool(made_up.all() if network.package.info.output.kind == "boxes" else made_up.any())

    def _allowed(self, network: LoadedNetwork, found: Any, scene: _Scene) -> Any:
        """What a detector found, without the boxes that show made-up pixels."""
        if not self.chain.forbid_detection_on_generated or not scene.made_up.any() or not isinstance(found, dict):
            return found
        return {frame_id: boxes.take(_on_real(frame_id, boxes, scene)) for frame_id, boxes in found.items()}

    def _note(
        self,
        number: int,
        network: LoadedNetwork,
        scene: _Scene,
        batch: Sequence[tuple[int, Tile]],
        raw: FloatArray | None,
        found: Any,
    ) -> None:
        """Let the next stages see what this one has made or pointed at."""
        if raw is None:
            return
        if _makes_picture(network):
            self._lay(network, scene, batch, raw)
        wanted = self._looked_for(number)
        if wanted is None:
            return
        if scene.promise is None:
            scene.promise = np.zeros(scene.made_up.shape, dtype=np.float32)
        names = network.package.info.classes
        ids = [names.index(name) for name in wanted.classes]
        for (owner, part), scores in zip(batch, raw, strict=True):
            where = _within(scene.tiles[owner].ref, part.ref)
            if network.package.info.output.kind == "probabilities":
                best = int(scores.argmax())
                sure = best in ids and scores[best] >= wanted.min_score
                scene.promise[owner][where] = np.maximum(scene.promise[owner][where], scores[best] if sure else 0.0)
            else:
                scene.promise[owner][where] = np.isin(scores.argmax(axis=0), ids)

    def _looked_for(self, number: int) -> Condition | None:
        """What the stages after a pointing one look for in its answers; None where it points for nobody."""
        if self.stages[number].package.info.output.kind not in ("probabilities", "mask"):
            return None
        for stage, network in zip(self.chain.stages[number + 1 :], self.stages[number + 1 :], strict=True):
            if stage.only_where is not None:
                return stage.only_where
            if network.package.info.output.kind in ("probabilities", "mask"):
                return None
        return None

    def _lay(self, network: LoadedNetwork, scene: _Scene, batch: Sequence[tuple[int, Tile]], raw: FloatArray) -> None:
        """Put restored parts into the tiles; where parts overlap the last one stays. One that could not be restored
        stays as it was, and nothing of it is made up."""
        task: Any = network.reader if isinstance(network.reader, MapTask) else getattr(network.reader, "task", None)
        levels, ended = task.levels([part.ref for _, part in batch], raw)
        names = task.band_names
        for (owner, part), values, outcome in zip(batch, levels, ended, strict=True):
            if outcome.outcome != "done":
                continue
            tile = scene.tiles[owner]
            where = _within(tile.ref, part.ref)
            pixels = tile.pixels.copy()
            for name, plane in zip(names, values, strict=True):
                if name == GENERATED:
                    scene.made_up[owner][where] |= plane > 0
                elif name in self.bands:
                    whole = np.rint(plane) if pixels.dtype == np.uint8 else plane
                    pixels[self.bands.index(name)][where] = whole
            scene.tiles[owner] = Tile(tile.ref, pixels)


def _makes_picture(network: LoadedNetwork) -> bool:
    task = network.reader if isinstance(network.reader, MapTask) else getattr(network.reader, "task", None)
    names = task.band_names if isinstance(task, (ImageTask, MapTask)) else ()
    return network.package.info.output.kind == "image" or GENERATED in names


def _within(tile: TileRef, part: TileRef) -> tuple[slice, slice]:
    row, col = part.row_px - tile.row_px, part.col_px - tile.col_px
    return slice(row, row + part.edge_px), slice(col, col + part.edge_px)


def _promise(wanted: Condition | None, scene: _Scene, owner: int, where: tuple[slice, slice]) -> float:
    """How promising a part is: 1 where nothing is asked for, else the best score, or the share of the wanted pixels."""
    if wanted is None:
        return 1.0
    if scene.promise is None:
        return 0.0
    seen = scene.promise[owner][where]
    share = float((seen > 0).mean())
    return 0.0 if share < wanted.min_frac else float(seen.max()) * (1.0 if wanted.min_frac == 0 else share)


def _most(stage: Stage, network: LoadedNetwork) -> int | None:
    """Parts that a stage may take in a slot, by count or by the profile's joules."""
    if stage.budget_j is None:
        return stage.most_tile
    each_j = network.package.profile.entry_for(batch=stage.batch).energy_j_per_tile
    return min(int(stage.budget_j / each_j), 2**31 if stage.most_tile is None else stage.most_tile)


def _on_real(frame_id: str, boxes: Boxes, scene: _Scene) -> NDArray[np.bool_]:
    """(n,): boxes without a made-up pixel."""
    good = np.ones(len(boxes), dtype=np.bool_)
    for at, (left, top, right, bottom) in enumerate(boxes.sides_px.tolist()):
        for tile, made_up in zip(scene.tiles, scene.made_up, strict=True):
            if tile.ref.frame_id != frame_id or not made_up.any():
                continue
            rows = slice(max(int(top) - tile.ref.row_px, 0), max(int(np.ceil(bottom)) - tile.ref.row_px, 0))
            cols = slice(max(int(left) - tile.ref.col_px, 0), max(int(np.ceil(right)) - tile.ref.col_px, 0))
            good[at] &= not made_up[rows, cols].any()
    return good
