"""Loaded networks and drawn tiles: what stands between the slot loop and the files of a mission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from exporters.package import ModelPackage
from power_sim.slot import SlotState

from .answers import Reader, View, ViewOf, When, reader_of
from .engines import Engine, MemoryBudget, expected_byte, open_engine
from .errors import EngineError, FrameError
from .frame import Frame
from .frames.bands import GENERATED
from .frames.scenes import SceneSource
from .georeference.rings import Float64Array
from .infer import make_task
from .keepsakes import FILLED, Keepsakes, Kept
from .parts import parts_of, whole_outcomes
from .pipeline.looking import MADE_UP
from .records import FloatArray, Product, Tile, TileOutcome, TileRef, UInt8Array
from .tasks.declouded import Declouder, generated_apart
from .tasks.terrain import TerrainTask

WORTH_MIN = 1e-9
"""Of a tile whose slot has no worth but was chosen to be worked on all the same."""
BATCH_PART = 32
"""Parts of tiles that an engine sees at a time."""
KIND_OF_TASK = {"anomaly": "anomaly", "change": "change", "declouded": FILLED, "terrain": "height"}
"""What products are called whose task says more than the form of the answer."""


@dataclass(frozen=True, slots=True)
class Several:
    """What several runs of an engine said of one batch."""

    parts: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """A verified package with its engine running, whatever its task."""

    package: ModelPackage
    engine: Engine
    reader: Reader
    grid_px: int = 0
    """Edge of the tiles that it is handed, which are cut into its own where they are larger; 0: its own."""
    worth: float = 1.0
    """Of a right answer of its task, beside what lies below."""
    keepsakes: Keepsakes = field(default_factory=Keepsakes)
    knows_missing: bool = False
    """Whether the graph takes NaN for what is missing; otherwise 0 stands for it."""

    @property
    def tile_edge_px(self) -> int:
        """Edge of the tiles that it is handed."""
        return max(self.grid_px, self.part_px)

    @property
    def part_px(self) -> int:
        """The tile that the package was trained for."""
        return self.package.info.input.tile_edge_px

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that the package wants, in order."""
        return self.package.info.bands

    @property
    def tile_dtype(self) -> str:
        """What the package's tiles are."""
        return self.package.info.input.dtype

    def answer(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[Any, list[TileOutcome]]:
        """Infer one batch; a run that fails, or an answer that is none, fails its tiles and nothing else."""
        if not tiles:
            return None, []
        if all(tile.ref.edge_px <= self.part_px for tile in tiles):
            found, outcomes, _ = self.run(tiles, view)
            return found, outcomes
        owned = [(number, part) for number, tile in enumerate(tiles) for part in parts_of(tile, self.part_px)]
        said: list[Any] = []
        ended: list[TileOutcome] = []
        for first in range(0, len(owned), BATCH_PART):
            found, outcomes, _ = self.run([part for _, part in owned[first : first + BATCH_PART]], view)
            said += [] if found is None else [found]
            ended += outcomes
        return Several(tuple(said)), whole_outcomes(tiles, [number for number, _ in owned], ended)

    def run(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[Any, list[TileOutcome], FloatArray | None]:
        """What the engine says of tiles of its own size, how each ended, and the raw answers; None where it failed."""
        refs = [tile.ref for tile in tiles]
        try:
            pixels = np.stack([tile.pixels for tile in tiles])
            raw = self.engine.infer(pixels if self.knows_missing or pixels.dtype == np.uint8 else np.nan_to_num(pixels))
            found, outcomes = self.reader.read(refs, raw, view)
        except EngineError as error:
            return None, [TileOutcome(ref, "failed", str(error)) for ref in refs], None
        self.keepsakes.offer(self.package.info, refs, raw, outcomes, view)
        return found, outcomes, raw

    def products(self, findings: Sequence[Any], view: ViewOf, state: SlotState) -> list[Product]:
        """Return the products of a slot; what lies below and the task decide what a right answer is worth."""
        kind, worth = KIND_OF_TASK.get(self.package.info.task), state.value_per_correct * self.worth
        products = self.reader.products(plain(findings), view, When(state.slot, state.start_unix_s))
        return [replace(one, value=one.value * worth, kind=kind or one.kind) for one in products]

    def labels(self, found: Any, view: ViewOf) -> list[str]:
        """Return what a batch's answers say, in order, for comparing two networks."""
        return sorted(one.label for one in self.reader.products(plain([found]), view, When(0, 0.0)))

    def kept(self) -> dict[TileRef, Kept]:
        """See ``Keeping``."""
        return self.keepsakes.take()


def plain(findings: Sequence[Any]) -> list[Any]:
    """Return what each run of an engine said, one after the other, without those that failed."""
    said: list[Any] = []
    for one in findings:
        said += one.parts if isinstance(one, Several) else [] if one is None else [one]
    return said


def load_networks(
    packages: Mapping[str, ModelPackage],
    *,
    threads: int = 1,
    memory: MemoryBudget | None = None,
    batch_tile: int = 32,
    opener: Callable[[ModelPackage], Engine] | None = None,
) -> dict[str, LoadedNetwork]:
    """Open an engine per package, run its golden tiles, and give it the task that fits its output.

    ``memory`` bounds what all of them may take at ``batch_tile`` tiles a batch. Raises ``EngineError``, before anything
    is loaded, where they do not fit together. ``opener`` replaces ONNX Runtime on the CPU.
    """
    for name, package in packages.items():
        if memory is not None:
            memory.take(memory_name(name, package), expected_byte(package, batch_tile))
    start = opener or partial(open_engine, threads=threads)
    return {name: _loaded(package, start(package)) for name, package in packages.items()}


def memory_name(name: str, package: ModelPackage) -> str:
    """Under which name a pool's network holds memory: another version of it is another holder."""
    return f"{name}/{package.info.id} v{package.info.version}"


def _loaded(package: ModelPackage, engine: Engine) -> LoadedNetwork:
    task: Any = make_task(package, engine)
    if isinstance(task, Declouder):
        task = task.in_flight()
        keepsakes = Keepsakes(names=task.band_names, tags=task.tags)
        return LoadedNetwork(
            package=task.package, engine=task.engine, reader=task, keepsakes=keepsakes, knows_missing=True
        )
    knows_missing = isinstance(task, TerrainTask)
    return LoadedNetwork(package=package, engine=engine, reader=reader_of(task), knows_missing=knows_missing)


def picture_of(frame: Frame, ref: TileRef) -> UInt8Array | None:
    """A window in red, green and blue where the frame has them, in its first band where not; ``None`` where it cannot
    be read. What is not 8 bits is stretched from its darkest to its brightest pixel."""
    colours = [name for name in ("red", "green", "blue") if name in frame.bands]
    positions = [frame.bands.index(name) for name in colours] if len(colours) == 3 else [0]
    try:
        pixels: Any = frame.read(ref.row_px, ref.col_px, ref.edge_px, positions)
    except FrameError:
        return None
    if pixels.dtype != np.uint8:
        low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
        pixels = np.nan_to_num((pixels - low) * (255.0 / max(high - low, 1e-9)))
    shown: UInt8Array = pixels.astype(np.uint8)
    return shown


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
    forbid_generated: bool = True
    """Nothing is said of tiles with pixels that a network made up."""

    def draw(self, state: SlotState, count: int, edge_px: int) -> Sequence[TileRef]:
        """Return ``count`` windows; raises ``FrameError`` where no scene shows what the cover asks for.

        Scenes whose labels are of tiles of another size serve networks of ``edge_px`` without their labels.
        """
        rng = np.random.default_rng([self.seed, state.slot])
        mix = self.mixes.get(state.cover) or dict.fromkeys(self.scenes.classes, 1.0)
        plain = int(rng.binomial(count, self.unlabelled_frac)) if self.scenes.unlabelled else 0
        labelled = self.scenes.draw(mix, count - plain, rng)
        if any(ref.edge_px != edge_px for ref in labelled):
            return self.scenes.draw_unlabelled(count, edge_px, rng)
        return [*labelled, *(self.scenes.draw_unlabelled(plain, edge_px, rng) if plain else ())]

    def worth(self, refs: Sequence[TileRef], state: SlotState) -> Float64Array:
        """Return what a right answer is worth, alike for all tiles of a slot."""
        return np.full(len(refs), max(state.value_per_correct, WORTH_MIN))

    def read(
        self, refs: Sequence[TileRef], bands: Sequence[str], tile_dtype: str
    ) -> tuple[list[Tile], list[TileOutcome]]:
        """Return the tiles that could be read, and an outcome for each that could not."""
        measured, made_up = list(refs), list[TileRef]()
        if self.forbid_generated and GENERATED not in bands:
            measured, made_up = generated_apart(refs, lambda ref: self.scenes.frame(ref.frame_id, "float32"))
        tiles, left_out = self.scenes.read(measured, bands, tile_dtype=tile_dtype)
        return tiles, [*left_out, *(TileOutcome(ref, "shed", MADE_UP) for ref in made_up)]

    def view(self, frame_id: str) -> View:
        """Return size and place of a scene."""
        frame = self.scenes.frame(frame_id)
        return View(frame.width_px, frame.height_px, frame.georeference)

    def look(self, ref: TileRef) -> UInt8Array | None:
        """Return a window's pixels for a picture, ``None`` where they cannot be read."""
        return picture_of(self.scenes.frame(ref.frame_id), ref)
