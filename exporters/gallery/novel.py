"""Novel views for a gallery: each place of a map drawn from the side, then laid onto the ground as a query would be.

What the ground's relief does to a slanted picture is then in the gallery too. Drawn by the splatter of this package.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .gaussians import Gaussians, of_map
from .scene import MapScene
from .sight import Sight, tile_of
from .splatter import Camera, draw

HEADINGS_DEG = (0.0, 90.0, 180.0, 270.0)
FAR = 2.5
"""Distance of the camera in sides of a tile."""
FINE = 2
"""Drawn pixels a pixel of the tile: neighbours that overlap on the picture move edges by up to half of one."""
ROOM = 1.6
"""Side of the drawn picture in sides of a tile."""


def sight_at(tilt_deg: float, heading_deg: float, *, tile_m: float, edge_px: int) -> Sight:
    """A camera that sees a tile at about its own scale."""
    distance_m = FAR * tile_m
    return Sight(
        focal_px=FINE * edge_px * FAR,
        height_m=distance_m * math.sin(math.radians(tilt_deg)),
        heading_deg=heading_deg,
        tilt_deg=tilt_deg,
    )


def drawn_tile(gaussians: Gaussians, sight: Sight, *, tile_m: float, edge_px: int) -> NDArray[np.uint8]:
    """The tile that a query of this sight would become; (0, 0, 0) of ``gaussians`` is where its axis meets the ground.

    Where nothing is drawn the mean colour stands.
    """
    side = math.ceil(FINE * ROOM * edge_px)
    east, north = sight.ahead_m
    camera = Camera(sight.axes(), np.array([-east, -north, sight.height_m]), sight.focal_px, side, side)
    seen = draw(gaussians, camera)
    filled = seen.colour + seen.through * gaussians.colour.mean(0)[:, None, None]
    pixels = np.clip(np.rint(255.0 * filled), 0, 255).astype(np.uint8)
    return tile_of(pixels, sight, tile_m=tile_m, edge_px=edge_px)


class NovelViews:
    """The places of an open scene, and their heights."""

    def __init__(self, scene: MapScene, edge_px: int, tile_m: float, heights: Path | None) -> None:
        self._scene, self._edge, self._tile_m = scene, edge_px, tile_m
        self._heights = None if heights is None else _heights(heights, scene)

    def tiles(self, tilt_deg: float, step_px: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64], float]]:
        """For each place and heading: tile (1, 3, edge, edge), middle (1, 2) in metres, heading."""
        margin = math.ceil((ROOM - 1) / 2 * self._edge)
        wide = self._edge + 2 * margin
        for pixels, middle in self._scene.tiles(self._edge, step_px, margin):
            for ground, place in zip(pixels, middle, strict=True):
                cloud = of_map(ground, self._relief(place, wide), self._tile_m / self._edge)
                for heading in HEADINGS_DEG:
                    sight = sight_at(tilt_deg, heading, tile_m=self._tile_m, edge_px=self._edge)
                    tile = drawn_tile(cloud, sight, tile_m=self._tile_m, edge_px=self._edge)
                    yield tile[None], place[None], heading

    def _relief(self, place: NDArray[np.float64], side: int) -> NDArray[np.float64]:
        """Heights over the lower quartile of the window, (side, side)."""
        if self._heights is None:
            return np.zeros((side, side))
        origin = self._scene.raster.transform
        col, row = (place[0] - origin.c) / origin.a, (place[1] - origin.f) / origin.e
        top, left = round(row - side / 2), round(col - side / 2)
        part = self._heights[top : top + side, left : left + side]
        if not np.isfinite(part).any():
            raise DatasetError("The height model has no value where the scene has ground. Give one that covers it.")
        filled = np.where(np.isfinite(part), part, np.nanmedian(part))
        out: NDArray[np.float64] = filled - np.quantile(filled, 0.25)
        return out


def _heights(path: Path, scene: MapScene) -> NDArray[np.float64]:
    """Band 1 of a height model on the scene's grid; NaN where it has none."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioError
    from rasterio.warp import reproject

    try:
        with rasterio.open(path) as file:
            out = np.full((scene.raster.height, scene.raster.width), np.nan, dtype=np.float64)
            crs = scene.raster.crs if scene.crs == "local" or file.crs is None else file.crs
            reproject(
                rasterio.band(file, 1), out, src_crs=crs, dst_crs=scene.raster.crs,
                dst_transform=scene.raster.transform, dst_nodata=np.nan, resampling=Resampling.bilinear,
            )  # fmt: skip
    except (RasterioError, OSError) as error:
        raise DatasetError(f"{path} cannot be used as heights: {error}. Give a GeoTIFF of metres.") from error
    return out
