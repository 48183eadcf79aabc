"""Unwrapped interferograms of one place, their mean velocity along the line of sight, and its picture for a network.

``NAME_YYYYMMDD-YYYYMMDD_..._unw.tif``: radians, the file's nodata (or 0) where there is none; ``..._cc.tif`` of the
same two dates, if there: coherence 0..1. Signs and units as the GAMMA processor leaves them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
WAVELENGTH_M = 0.0555
"""Of Sentinel-1's C band."""
TURN_MM = 28.0
"""Velocity in mm a year that goes once around the circle of colours: about one fringe of the C band."""
MIN_COHERENCE = 0.3
"""Below it the phase is noise (DECISION; nothing published)."""
_DATES = re.compile(r"(\d{8})-(\d{8})")
_YEAR_DAYS = 365.25


@dataclass(frozen=True, slots=True, eq=False)
class Interferograms:
    """``phase_rad``: (n, rows, cols), NaN where nothing is known; ``dates``: first and second of each; ``place``: the
    raster profile they share, for writing GeoTIFF."""

    phase_rad: Float64Array
    dates: tuple[tuple[date, date], ...]
    place: dict[str, Any]

    @property
    def days(self) -> Float64Array:
        """(n,) from the first to the second date."""
        return np.array([(second - first).days for first, second in self.dates], dtype=np.float64)


def read_interferograms(folder: Path, *, min_coherence: float = MIN_COHERENCE) -> Interferograms:
    """All unwrapped interferograms of a folder.

    Raises DatasetError for a folder without any, one date only, dates in the wrong order, and grids that differ.
    """
    paths = sorted(folder.glob("*_unw.tif"))
    if not paths:
        raise DatasetError(f"{folder} holds no unwrapped interferogram (NAME_YYYYMMDD-YYYYMMDD_..._unw.tif). Add some.")
    dates = tuple(dates_of(path.name) for path in paths)
    coherences = {dates_of(path.name): path for path in folder.glob("*_cc.tif")}
    layers, place = [], None
    for path, when in zip(paths, dates, strict=True):
        phase, profile = _raster(path)
        place = place or profile
        if _grid(profile) != _grid(place):
            raise DatasetError(f"{path.name} lies on another grid than {paths[0].name}. Resample them to one.")
        if when in coherences:
            known, other = _raster(coherences[when])
            if _grid(other) != _grid(place):
                raise DatasetError(f"{coherences[when].name} lies on another grid than {path.name}. Resample it.")
            phase = np.where(known >= min_coherence, phase, np.nan)
        layers.append(phase)
    assert place is not None
    return Interferograms(np.stack(layers), dates, place)


def dates_of(name: str) -> tuple[date, date]:
    """First and second date in a file's name; DatasetError unless there are two that differ, the earlier first."""
    found = _DATES.search(name)
    if found is None:
        raise DatasetError(f"{name} names no two dates (YYYYMMDD-YYYYMMDD): deformation needs two. Rename or drop it.")
    try:
        first, second = (datetime.strptime(text, "%Y%m%d").date() for text in found.groups())
    except ValueError as error:
        raise DatasetError(f"{name} names a day that does not exist: {error}. Correct its name.") from error
    if first == second:
        raise DatasetError(f"{name} shows one date only, {first}: nothing can have moved. Give a pair of two dates.")
    if first > second:
        raise DatasetError(f"{name}: {first} is after {second}. Swap the dates and the sign of the phase.")
    return first, second


def velocity_mm_a(source: Interferograms, *, wavelength_m: float = WAVELENGTH_M) -> Float64Array:
    """(rows, cols) velocity along the line of sight, towards the satellite, in mm a year; NaN where nothing is known.

    Least squares through the origin over all pairs, sum(days phase) / sum(days^2), each map's median removed first
    because each has an offset of its own. Towards the satellite phase falls.
    """
    medians = np.array([np.nanmedian(layer) if np.isfinite(layer).any() else 0.0 for layer in source.phase_rad])
    phase = source.phase_rad - medians[:, None, None]
    days = source.days[:, None, None]
    known = np.isfinite(phase)
    top = np.where(known, days * np.where(known, phase, 0.0), 0.0).sum(axis=0)
    under = (known * days**2).sum(axis=0)
    rate = np.divide(top, under, out=np.full(top.shape, np.nan), where=under > 0)
    velocity: Float64Array = -rate * wavelength_m / (4 * np.pi) * 1e3 * _YEAR_DAYS
    return velocity


def render(velocity: Float64Array, *, turn_mm: float = TURN_MM) -> UInt8Array:
    """(3, rows, cols) red, green, blue: hue goes around once every ``turn_mm``, saturation and value 1; NaN is black.

    >>> render(np.array([[0.0, 28.0 / 3, np.nan]]))[:, 0].T.tolist()
    [[255, 0, 0], [0, 255, 0], [0, 0, 0]]
    """
    known = np.isfinite(velocity)
    hue = np.mod(np.where(known, velocity, 0.0) / turn_mm, 1.0) * 6.0
    channels = [np.abs(hue - 3.0) - 1.0, 2.0 - np.abs(hue - 2.0), 2.0 - np.abs(hue - 4.0)]
    bright = np.clip(np.stack(channels), 0.0, 1.0) * known
    return np.rint(255.0 * bright).astype(np.uint8)


def write_rendering(source: Interferograms, path: Path, *, turn_mm: float = TURN_MM) -> Float64Array:
    """Write the velocity's picture as a GeoTIFF whose mask band marks what is known; the velocity is returned."""
    import rasterio
    from rasterio.enums import ColorInterp

    velocity = velocity_mm_a(source)
    pixels = render(velocity, turn_mm=turn_mm)
    known = np.where(np.isfinite(velocity), 255, 0).astype(np.uint8)
    rows, cols = velocity.shape
    where = {"crs": source.place["crs"], "transform": source.place["transform"]}
    with rasterio.open(path, "w", driver="GTiff", height=rows, width=cols, count=4, dtype="uint8", **where) as image:
        image.write(np.concatenate([pixels, known[None]]))
        image.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        image.update_tags(TURN_MM_A=f"{turn_mm:g}", DATES=f"{min(source.dates)[0]}/{max(d for _, d in source.dates)}")
    return velocity


def _raster(path: Path) -> tuple[Float64Array, dict[str, Any]]:
    """Values with NaN where there is no data, and the profile."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as image:
            values = image.read(1).astype(np.float64)
            profile, nodata = dict(image.profile), image.nodata
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Fetch it again.") from error
    empty = ~np.isfinite(values) | (values == (0.0 if nodata is None else nodata))
    return np.where(empty, np.nan, values), profile


def _grid(profile: dict[str, Any]) -> tuple[Any, ...]:
    return profile["width"], profile["height"], profile["crs"], tuple(profile["transform"])
