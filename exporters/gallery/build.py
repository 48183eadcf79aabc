"""Making a gallery: every place of the scenes, seen straight down and, where asked for, from the side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..file_hash import sha256_of
from .gallery import MOST_VIEWS, Gallery, Source, lift
from .novel import NovelViews
from .scene import MapScene, open_scene

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Progress = Callable[[str], None]
MOST_NULL = 1000
APART = 1.5
"""Tiles whose middles are this many sides apart show nothing of each other, however they are turned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a gallery is made."""

    package: str
    package_sha256: str
    edge_px: int
    tile_m: float
    step_m: float
    temperature: float
    crs: str | None = None
    """Instead of what the files say."""
    headings: int = 1
    """1: queries come turned north up. 4: each place also turned by quarters, for queries of unknown heading."""
    tilts_deg: tuple[float, ...] = ()
    """Novel views from the north, east, south and west at these tilts below the horizon."""
    heights: Path | None = None
    """Height model for the novel views, metres; without it the ground is flat."""

    def __post_init__(self) -> None:
        if not (0 < self.tile_m < math.inf and 0 < self.step_m <= 4 * self.tile_m and self.temperature > 0):
            raise DatasetError(
                f"Tiles of {self.tile_m} m every {self.step_m} m make no gallery. Use a step of at most four tiles."
            )
        if self.headings not in (1, 4):
            raise DatasetError(f"{self.headings} headings are not possible. Use 1 (north up) or 4 (quarters).")

    @property
    def gsd_m(self) -> float:
        """Of the tiles."""
        return self.tile_m / self.edge_px


@dataclass(eq=False)
class _Rows:
    """The rows of a gallery while it grows."""

    vectors: list[NDArray[np.float16]]
    centre_m: list[NDArray[np.float64]]
    heading_deg: list[float]
    tilt_deg: list[float]

    def add(self, vectors: NDArray[np.float32], middle: NDArray[np.float64], heading: float, tilt: float) -> None:
        if not np.isfinite(vectors).all():
            raise DatasetError("The network answers values that are no number to the map. Check the package.")
        self.vectors.append(vectors.astype(np.float16))
        self.centre_m.append(middle)
        self.heading_deg += [heading] * len(middle)
        self.tilt_deg += [tilt] * len(middle)
        if len(self.heading_deg) > MOST_VIEWS:
            raise DatasetError(
                f"The gallery would hold more than {MOST_VIEWS} views. Use a larger --step, fewer tilts or "
                "headings, or several galleries."
            )


def build_gallery(
    embed: Embed,
    plan: Plan,
    scenes: Sequence[Path],
    *,
    calibrate: Sequence[Path] = (),
    progress: Progress = lambda line: None,
) -> Gallery:
    """Embed every place of ``scenes``. ``embed``: (n, 3, edge, edge) uint8 to (n, dim) unit vectors.

    ``calibrate``: georeferenced imagery of another date or of other ground, which says how well a picture fits where it
    was not taken; without it the gallery's own tiles do, on the safe side. Raises ``DatasetError``.
    """
    if not scenes:
        raise DatasetError("A gallery needs at least one scene. Give georeferenced images of the flight area.")
    rows, sources = _Rows([], [], [], []), []
    crs = None
    for path in scenes:
        with open_scene(path, gsd_m=plan.gsd_m, told=plan.crs, into=crs) as scene:
            crs = scene.crs
            before = len(rows.heading_deg)
            _add(rows, embed, plan, scene)
            views = len(rows.heading_deg) - before
            sources.append(Source(path.name, sha256_of(path), scene.source_gsd_m, scene.said, views))
            progress(f"{path.name}: {views} views at {plan.gsd_m:.3g} m")
    if not rows.heading_deg or crs is None:
        raise DatasetError(f"The scenes hold no tile of {plan.tile_m:g} m without holes. Give larger ones.")
    vectors, centre_m = np.concatenate(rows.vectors), np.concatenate(rows.centre_m)
    if calibrate:
        null = null_of(embed, plan, calibrate, vectors, centre_m, crs)
    else:
        null = null_within(vectors, centre_m, plan.tile_m, plan.temperature)
    return Gallery(
        vectors=vectors,
        centre_m=centre_m,
        heading_deg=np.array(rows.heading_deg, dtype=np.float32),
        tilt_deg=np.array(rows.tilt_deg, dtype=np.float32),
        null_lifts=null,
        package=plan.package,
        package_sha256=plan.package_sha256,
        crs=crs,
        edge_px=plan.edge_px,
        tile_m=plan.tile_m,
        step_m=plan.step_m,
        temperature=plan.temperature,
        null_kind="calibration" if calibrate else "leave-one-out",
        sources=tuple(sources),
    )


def null_within(
    vectors: NDArray[np.float16], centre_m: NDArray[np.float64], tile_m: float, temperature: float
) -> NDArray[np.float32]:
    """The lift of each tile among those that show nothing of it; empty where the area is too small for that.

    Of at most ``MOST_NULL`` tiles, spread over the gallery. Tiles of one survey are more alike than those of two: as a
    threshold it is on the safe side.
    """
    chosen = np.unique(np.linspace(0, len(vectors) - 1, min(MOST_NULL, len(vectors))).round().astype(int))
    gallery = vectors.astype(np.float32)
    return _lifts(gallery[chosen], centre_m[chosen], gallery, centre_m, tile_m, temperature)


def null_of(
    embed: Embed,
    plan: Plan,
    scenes: Sequence[Path],
    vectors: NDArray[np.float16],
    centre_m: NDArray[np.float64],
    crs: str,
) -> NDArray[np.float32]:
    """The same of tiles of other imagery: of another date, each without its own place, or of other ground."""
    gallery, found = vectors.astype(np.float32), []
    for path in scenes:
        with open_scene(path, gsd_m=plan.gsd_m, told=plan.crs, into=crs) as scene:
            for tiles, middle in scene.tiles(plan.edge_px, _step_px(plan)):
                found.append(_lifts(embed(tiles), middle, gallery, centre_m, plan.tile_m, plan.temperature))
    if not found or not len(np.concatenate(found)):
        raise DatasetError(f"The imagery for calibration holds no tile of {plan.tile_m:g} m. Give larger scenes.")
    return np.concatenate(found)


def _lifts(
    asked: NDArray[np.float32],
    asked_m: NDArray[np.float64],
    gallery: NDArray[np.float32],
    centre_m: NDArray[np.float64],
    tile_m: float,
    temperature: float,
) -> NDArray[np.float32]:
    """Of each tile among the views that are ``APART`` sides off; left out where that is under half of them."""
    found = []
    for vector, place in zip(asked, asked_m, strict=True):
        far = np.abs(centre_m - place).max(1) > APART * tile_m
        if far.sum() >= max(2, len(gallery) // 2):
            found.append(lift(gallery[far] @ vector, temperature))
    return np.array(found, dtype=np.float32)


def _add(rows: _Rows, embed: Embed, plan: Plan, scene: MapScene) -> None:
    for tiles, middle in scene.tiles(plan.edge_px, _step_px(plan)):
        for quarter in range(plan.headings):
            turned = np.ascontiguousarray(np.rot90(tiles, quarter, axes=(2, 3)))
            rows.add(embed(turned), middle, 90.0 * quarter, 90.0)
    if plan.tilts_deg:
        views = NovelViews(scene, plan.edge_px, plan.tile_m, plan.heights)
        for tilt in plan.tilts_deg:
            for tiles, middle, heading in views.tiles(tilt, _step_px(plan)):
                rows.add(embed(tiles), middle, heading, tilt)


def _step_px(plan: Plan) -> int:
    return max(1, round(plan.step_m / plan.gsd_m))


def batched(embed: Embed, size: int = 32) -> Embed:
    """The same function, asked for at most ``size`` tiles at a time."""

    def whole(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts: Iterator[Any] = (embed(tiles[start : start + size]) for start in range(0, len(tiles), size))
        return np.concatenate(list(parts))

    return whole
