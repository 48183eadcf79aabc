"""Georeferenced imagery in metres: a scene warped to the frame and scale of a gallery, read strip by strip."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .gallery import LOCAL

MIN_VALID_FRAC = 0.95
_STAND_IN = "EPSG:3857"
"""What a local frame is called while GDAL has it: nothing is reprojected."""
MOST_PX = 20_000 * 20_000


@dataclass(frozen=True, slots=True)
class MapScene:
    """An open scene in metres. ``crs``: of the frame that it was warped to; ``said``: of the file, or as told."""

    path: Path
    raster: Any
    bands: tuple[int, ...]
    crs: str
    said: str
    gsd_m: float
    source_gsd_m: float

    def tiles(
        self, edge_px: int, step_px: int, margin_px: int = 0
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
        """Row by row of places: tiles (n, 3, edge, edge), middles (n, 2) in metres; those with holes left out.

        With ``margin_px`` the windows are wider by that on each side, around the same places.
        """
        from rasterio.windows import Window

        first = -(-margin_px // step_px) * step_px - margin_px
        edge_px += 2 * margin_px
        for top in range(first, self.raster.height - edge_px + 1, step_px):
            window = Window(0, top, self.raster.width, edge_px)  # pyright: ignore[reportCallIssue]
            strip = self.raster.read(self.bands, window=window)
            valid = self.raster.dataset_mask(window=window) > 0
            lefts = [
                left
                for left in range(first, self.raster.width - edge_px + 1, step_px)
                if valid[:, left : left + edge_px].mean() >= MIN_VALID_FRAC
            ]
            if lefts:
                place = self.raster.transform  # north up: rows and columns do not mix
                east = place.c + place.a * (np.array(lefts) + edge_px / 2)
                middle = np.column_stack([east, np.full(len(lefts), place.f + place.e * (top + edge_px / 2))])
                yield np.stack([strip[:, :, left : left + edge_px] for left in lefts]), middle


@contextmanager
def open_scene(path: Path, *, gsd_m: float, told: str | None, into: str | None) -> Iterator[MapScene]:
    """Open a scene at ``gsd_m``, in the frame ``into`` (None: its own, or for degrees the UTM zone of its middle).

    ``told`` overrides the file's CRS; ``local`` takes its coordinates for metres. Raises ``DatasetError``.
    """
    import rasterio
    from rasterio.crs import CRS
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
    from rasterio.vrt import WarpedVRT

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                bands = _colour_bands(path, source)
                said, have = _frame(path, source, told)
                crs = into or (LOCAL if said == LOCAL else _metric(have, source))
                if (crs == LOCAL) != (said == LOCAL):
                    raise DatasetError(f"{path} is in {said}, the gallery in {crs}. Use scenes of one kind of frame.")
                want = CRS.from_string(_STAND_IN) if crs == LOCAL else CRS.from_string(crs)
                transform, cols, rows = _grid(source, have, want, gsd_m)
                if rows * cols > MOST_PX:
                    raise DatasetError(f"{path} is {rows} x {cols} px at {gsd_m} m, too much at once. Cut it.")
                own_m = _grid(source, have, want, None)[0].a
                alpha = source.nodata is None and ColorInterp.alpha not in source.colorinterp
                with WarpedVRT(
                    source, src_crs=have, crs=want, transform=transform, width=cols, height=rows,
                    resampling=Resampling.average if own_m < gsd_m else Resampling.bilinear, add_alpha=alpha,
                ) as raster:  # fmt: skip
                    yield MapScene(path, raster, bands, crs, said, gsd_m, float(own_m))
    except (RasterioError, CRSError, OSError) as error:
        raise DatasetError(
            f"{path} cannot be used as a map: {' '.join(str(error).split())}. Check the file."
        ) from error


def _grid(source: Any, have: Any, want: Any, gsd_m: float | None) -> tuple[Any, int, int]:
    """Transform, columns and rows of a scene in another frame; ``gsd_m`` None: at its own scale."""
    from rasterio.warp import calculate_default_transform

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # of rasterio's own use of affine
        transform, cols, rows = calculate_default_transform(
            have, want, source.width, source.height, *source.bounds, resolution=gsd_m
        )
    if cols is None or rows is None:
        raise DatasetError(f"A scene in {have} cannot be laid out in {want}. Give another --crs.")
    return transform, int(cols), int(rows)


def _frame(path: Path, source: Any, told: str | None) -> tuple[str, Any]:
    """What the coordinates are, in words, and as a CRS."""
    from rasterio.crs import CRS

    if source.transform.is_identity:
        raise DatasetError(f"{path} has no place: it is not georeferenced. Give an orthophoto with a transform.")
    if told == LOCAL:
        return LOCAL, CRS.from_string(_STAND_IN)
    crs = CRS.from_string(told) if told else source.crs
    if crs is None:
        raise DatasetError(f"{path} names no CRS. Give it with --crs EPSG:CODE, or --crs {LOCAL} for metres.")
    left, bottom, right, top = source.bounds
    if crs.is_geographic and (max(abs(bottom), abs(top)) > 90 or max(abs(left), abs(right)) > 360):
        raise DatasetError(
            f"{path} says that it is in {crs.to_string()}, but spans {bottom:.1f} to {top:.1f} degrees of latitude. "
            f"Its coordinates are of another frame: give it with --crs EPSG:CODE, or --crs {LOCAL} for metres."
        )
    return crs.to_string(), crs


def _metric(crs: Any, source: Any) -> str:
    """The scene's own CRS where its unit is the metre, else the UTM zone of its middle."""
    from rasterio.warp import transform_bounds

    if crs.is_projected and crs.linear_units_factor[1] == 1.0 and crs.to_epsg() != 3857:
        return str(crs.to_string())
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *source.bounds)
    zone = int(((west + east) / 2 + 180) // 6) % 60 + 1
    return f"EPSG:{(32600 if south + north >= 0 else 32700) + zone}"


def _colour_bands(path: Path, source: Any) -> tuple[int, ...]:
    from rasterio.enums import ColorInterp

    if any(kind != "uint8" for kind in source.dtypes) or source.count < 3:
        raise DatasetError(
            f"{path} has {source.count} bands of {source.dtypes[0]}; a gallery needs red, green and blue as uint8. "
            "Convert it, for example with gdal_translate -ot Byte -scale."
        )
    named = {kind: at + 1 for at, kind in enumerate(source.colorinterp)}
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    return tuple(named[colour] for colour in colours) if all(c in named for c in colours) else (1, 2, 3)
