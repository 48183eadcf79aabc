"""Loaded networks and drawn tiles: what stands between the slot loop and the files of a mission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from exporters.package import ModelPackage
from power_sim.slot import SlotState

from .engines import MemoryBudget, expected_byte, open_onnx_engine
from .frames.scenes import SceneSource
from .georeference import Box, footprints
from .records import Footprint, Product, Tile, TileOutcome, TileRef
from .tasks import Classifier


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """A verified package with its engine running."""

    package: ModelPackage
    classifier: Classifier

    @property
    def tile_edge_px(self) -> int:
        """The tile that the package was trained for."""
        return self.package.info.input.tile_edge_px

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that the package wants, in order."""
        return self.package.info.bands

    def answer(
        self, tiles: Sequence[Tile], places: Sequence[Footprint | None], state: SlotState
    ) -> tuple[list[Product], list[TileOutcome]]:
        """Infer ``tiles``; each comes back as a product (done) or as a failed outcome."""
        if not tiles:
            return [], []
        products, outcomes = self.classifier.answer(
            [tile.ref for tile in tiles],
            np.stack([tile.pixels for tile in tiles]),
            slot=state.slot,
            captured_unix_s=state.start_unix_s,
            footprints=places,
        )
        worth = state.value_per_correct  # what lies below decides what a right answer is worth here
        return [replace(product, value=product.value * worth) for product in products], outcomes


def load_networks(
    packages: Mapping[str, ModelPackage],
    *,
    threads: int,
    class_value: Mapping[str, float],
    memory: MemoryBudget | None = None,
    batch_tile: int = 32,
) -> dict[str, LoadedNetwork]:
    """Open an engine per package and run its golden tiles.

    ``memory`` bounds what all of them may take at ``batch_tile`` tiles a batch. Raises ``EngineError``, before anything
    is loaded, where they do not fit together.
    """
    for package in packages.values():
        if memory is not None:
            memory.take(package.info.id, expected_byte(package, batch_tile))
    return {
        name: LoadedNetwork(
            package=package,
            classifier=Classifier(
                engine=open_onnx_engine(package, threads=threads), package=package, class_value=class_value
            ),
        )
        for name, package in packages.items()
    }


@dataclass(frozen=True, kw_only=True)
class SceneTiles:
    """Draws each slot's tiles from scenes on disk, as what lies below asks. Depends on seed and slot alone.

    ``unlabelled_frac`` of a slot's tiles come from the scenes without labels, if any: real pixels, not scored.
    """

    scenes: SceneSource
    mixes: Mapping[str, Mapping[str, float]]
    """Class weights by ground cover; a cover without any shows all classes alike."""
    seed: int
    unlabelled_frac: float = 0.125
    _rings: dict[tuple[str, int, int, int], Footprint | None] = field(default_factory=dict)

    def draw(self, state: SlotState, count: int, edge_px: int) -> Sequence[TileRef]:
        """Return ``count`` windows; raises ``FrameError`` where no scene shows what the cover asks for."""
        rng = np.random.default_rng([self.seed, state.slot])
        mix = self.mixes.get(state.cover) or dict.fromkeys(self.scenes.classes, 1.0)
        plain = int(rng.binomial(count, self.unlabelled_frac)) if self.scenes.unlabelled else 0
        labelled = self.scenes.draw(mix, count - plain, rng)
        return [*labelled, *(self.scenes.draw_unlabelled(plain, edge_px, rng) if plain else ())]

    def read(self, refs: Sequence[TileRef], bands: Sequence[str]) -> tuple[list[Tile], list[TileOutcome]]:
        """Return the tiles that could be read, and an outcome for each that could not."""
        return self.scenes.read(refs, bands)

    def place(self, tiles: Sequence[Tile]) -> list[Footprint | None]:
        """Return each tile's ground polygon, computed once per window."""
        new: dict[str, list[TileRef]] = {}
        for tile in tiles:
            if _window(tile.ref) not in self._rings:
                new.setdefault(_window(tile.ref)[0], []).append(tile.ref)
        for name, refs in new.items():
            georeference = self.scenes.frame(name).georeference
            boxes = [Box(ref.row_px, ref.col_px, ref.edge_px, ref.edge_px) for ref in refs]
            rings = [None] * len(refs) if georeference is None else footprints(georeference, boxes)
            self._rings.update(zip(map(_window, refs), rings, strict=True))
        return [self._rings[_window(tile.ref)] for tile in tiles]


def _window(ref: TileRef) -> tuple[str, int, int, int]:
    """Return the window whichever look at its frame it is."""
    return ref.frame_id.split("@", 1)[0], ref.row_px, ref.col_px, ref.edge_px
