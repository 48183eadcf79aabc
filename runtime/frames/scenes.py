"""The scenes that a replay draws its tiles from: mosaics with a known class per tile, and scenes without labels.

A folder of scenes holds images and, beside a labelled one, ``NAME.json``:
``{"schema": 1, "tile_edge_px": 64, "tiles": [{"row_px": 0, "col_px": 0, "class": "Forest"}, ...]}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError
from ..records import Tile, TileOutcome, TileRef
from ..tiles import Filter, TileGrid, cut, tile_grid
from .bands import choose_bands
from .raster import RasterFrame, open_frame

SCHEMA = 1
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".j2k")
"""Endings of the files that a folder is searched for; what a file is, its first bytes say."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One image, and the tiles of it whose class is known."""

    path: Path
    labelled: tuple[TileRef, ...] = ()

    @property
    def frame_id(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


class SceneSource:
    """Draws tiles from scenes and reads their pixels. Draws depend on the arguments alone, the generator included.

    Once all tiles of a class are drawn, they come again as a further look at the same scene: ``NAME@2``, ``NAME@3``.
    """

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = {scene.frame_id: scene for scene in scenes}
        self._open: dict[tuple[str, str], RasterFrame] = {}
        self._labelled: dict[str, list[TileRef]] = {}
        for scene in scenes:
            for ref in scene.labelled:
                self._labelled.setdefault(str(ref.truth), []).append(ref)
        self.classes = tuple(sorted(self._labelled))

    @classmethod
    def from_folder(cls, folder: Path) -> SceneSource:
        """All scenes of a folder, by name. Raises ``FrameError`` if there are none or a label file is wrong."""
        files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise FrameError(f"There are no scenes in {folder}. Give a folder of GeoTIFF, PNG or JPEG files.")
        return cls([read_scene(path) for path in files])

    def frame(self, frame_id: str, tile_dtype: str = "uint8") -> RasterFrame:
        """The open frame that a tile's ``frame_id`` names, whichever look at it, with tiles of ``tile_dtype``."""
        name = frame_id.split("@", 1)[0]
        if name not in self._scenes:
            raise FrameError(f"There is no scene {name!r}. Use one of {sorted(self._scenes)}.")
        if (name, tile_dtype) not in self._open:
            self._open[name, tile_dtype] = open_frame(self._scenes[name].path, tile_dtype=tile_dtype)
        return self._open[name, tile_dtype]

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """Names of the scenes whose tiles have no known class."""
        return tuple(sorted(name for name, scene in self._scenes.items() if not scene.labelled))

    def path_of(self, name: str) -> Path:
        """The file of a scene."""
        return self._scenes[name].path

    def draw(self, mix: Mapping[str, float], count: int, rng: np.random.Generator) -> list[TileRef]:
        """Draw ``count`` labelled tiles, classes in proportion to the weights of ``mix``, in random order."""
        names, weights = sorted(mix), np.array([mix[name] for name in sorted(mix)], dtype=np.float64)
        if unknown := [name for name in names if name not in self._labelled]:
            raise FrameError(f"No scene shows {', '.join(unknown)}. Use classes among {', '.join(self.classes)}.")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise FrameError(f"The class weights {dict(mix)} are no mix. Give weights of 0 or more, not all 0.")
        counts = rng.multinomial(count, weights / weights.sum())
        drawn = [
            ref for name, wanted in zip(names, counts, strict=True) for ref in _take(self._labelled[name], wanted, rng)
        ]
        return [drawn[index] for index in rng.permutation(len(drawn))]

    def draw_unlabelled(self, count: int, edge_px: int, rng: np.random.Generator) -> list[TileRef]:
        """Draw ``count`` windows of the scenes without labels. Raises ``FrameError`` if all scenes have labels."""
        windows = [window.ref for name in self.unlabelled for window in self._grid(name, edge_px)]
        if not windows:
            raise FrameError("All scenes have labels. Add one without a label file, or draw labelled tiles.")
        return _take(windows, count, rng)

    def read(
        self, refs: Sequence[TileRef], bands: Sequence[str], *, keep: Filter | None = None, tile_dtype: str = "uint8"
    ) -> tuple[list[Tile], list[TileOutcome]]:
        """Pixels of ``refs`` in order, and an outcome for each tile that ``keep`` sheds or that cannot be read."""
        tiles: list[Tile] = []
        left_out: list[TileOutcome] = []
        for run in _same_frame(refs):
            try:
                frame = self.frame(run[0].frame_id, tile_dtype)
                positions = choose_bands(frame.bands, bands, frame.frame_id)
            except FrameError as error:
                left_out += [TileOutcome(ref, "failed", str(error)) for ref in run]
                continue
            for batch in cut(frame, run, positions, batch=len(run), keep=keep):
                tiles += [Tile(ref, pixels) for ref, pixels in zip(batch.refs, batch.pixels, strict=True)]
                left_out += batch.left_out
        return tiles, left_out

    def close(self) -> None:
        """Release all files."""
        for frame in self._open.values():
            frame.close()
        self._open.clear()

    def _grid(self, name: str, edge_px: int) -> TileGrid:
        frame = self.frame(name)
        return tile_grid(frame.width_px, frame.height_px, edge_px, frame_id=name)


def read_scene(path: Path) -> Scene:
    """A scene and, where ``NAME.json`` lies beside it, its labels."""
    labels = path.with_suffix(".json")
    if not labels.is_file():
        return Scene(path)
    try:
        table = json.loads(labels.read_text(encoding="utf-8"))
        if table["schema"] != SCHEMA:
            raise ValueError(f"schema {table['schema']}, expected {SCHEMA}")
        edge = int(table["tile_edge_px"])
        tiles = tuple(
            TileRef(path.stem, int(tile["row_px"]), int(tile["col_px"]), edge, str(tile["class"]))
            for tile in table["tiles"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FrameError(
            f"{labels} is no label file: {error!r}. Make it anew with benchmarks/make_scenes.py."
        ) from error
    return Scene(path, tiles)


def _take(refs: Sequence[TileRef], count: int, rng: np.random.Generator) -> list[TileRef]:
    """``count`` of ``refs`` in random order: each once, then each once more under the next look's name, and so on."""
    taken: list[TileRef] = []
    while len(taken) < count:
        look = len(taken) // len(refs) + 1
        order: NDArray[np.int64] = rng.permutation(len(refs))[: count - len(taken)]
        again = "" if look == 1 else f"@{look}"
        taken += [replace(refs[index], frame_id=refs[index].frame_id + again) for index in order]
    return taken


def _same_frame(refs: Sequence[TileRef]) -> list[list[TileRef]]:
    runs: list[list[TileRef]] = []
    for ref in refs:
        if runs and runs[-1][0].frame_id == ref.frame_id and runs[-1][0].edge_px == ref.edge_px:
            runs[-1].append(ref)
        else:
            runs.append([ref])
    return runs
