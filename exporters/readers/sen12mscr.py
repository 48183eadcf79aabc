"""SEN12MS-CR (Ebel et al., IEEE TGRS 59(7), 2021): co-registered Sentinel-1, cloudy and clear Sentinel-2 patches.

Layouts that are known, below the given folder:

    as published   ROIs1868_summer_s1/s1_102/ROIs1868_summer_s1_102_p500.tif, and the same with s2 and s2_cloudy
    samples        triplets/{s1,s2_cloudy,s2_cloudfree}/ROIs1868_summer_102_p500.tif; pairs/ likewise, without s1

Splits go by region, for neighbouring patches share half of their pixels: ``ROIs1868_summer_102`` is one region.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

Float32Array = NDArray[np.float32]
RGB_INDEX = (3, 2, 1)
"""B4, B3, B2 among the 13 bands of Level 1C."""
BANDS, RADAR_BANDS = 13, 2
DILATION_PX = 3
SAMPLE_TEST = ("ROIs2017_winter_112",)
"""The test region of the samples, as their README says it; what else they hold is for training."""
TEST_SHARE = 0.2
"""Of the regions of the whole set."""
_KINDS = {"s1": "s1", "s2_cloudy": "s2_cloudy", "s2_cloudfree": "s2", "s2": "s2"}
_NAME = re.compile(r"(ROIs\d+)_([a-z]+)_(?:(s1|s2_cloudy|s2)_)?(\d+)_p(\d+)")


@dataclass(frozen=True, slots=True, eq=False)
class Triplet:
    """One patch. ``clear`` and ``cloudy``: (13, rows, cols) float32, reflectance times 10000.

    ``sar``: (2, rows, cols) float32, VV and VH in dB; None where the source has none.
    """

    name: str
    cloudy: Float32Array
    clear: Float32Array
    sar: Float32Array | None
    marked: NDArray[np.bool_] | None = None
    """(rows, cols) cloud where it is known; None where it is found by ``cloud_mask``."""

    @property
    def region(self) -> str:
        """Season and region, which a split keeps together."""
        return region_of(self.name)

    @property
    def cloud(self) -> NDArray[np.bool_]:
        """(rows, cols): what the cloudy patch hides, three pixels wider than it looks."""
        return dilated(cloud_mask(self.cloudy), DILATION_PX) if self.marked is None else self.marked


def read_triplets(root: Path, split: str, *, radar: bool = True, test: Sequence[str] = ()) -> tuple[Triplet, ...]:
    """All patches of ``train`` or ``test`` in the order of their names; with ``radar``, only those that have it.

    ``test`` names the test regions, if not those of ``regions_for_test``.

    DatasetError for a layout not known, a partner that is missing, patches of different sizes or places, wrong bands.
    """
    if split not in ("train", "test"):
        raise DatasetError(f"There is no split {split!r} of SEN12MS-CR here. Use 'train' or 'test'.")
    files = list(_files(root))
    names = sorted({name for name, _, _ in files})
    if not names:
        raise DatasetError(f"{root} holds no patches of SEN12MS-CR. Give the folder above ROIs*_s1 or triplets/.")
    by_name: dict[str, dict[str, Path]] = {name: {} for name in names}
    for name, kind, path in files:
        by_name[name][kind] = path
    held = tuple(test) or regions_for_test(names)
    if unknown := sorted(set(held) - {region_of(name) for name in names}):
        raise DatasetError(f"{root} has no region {unknown[0]}. Name some of {sorted(map(region_of, names))}.")
    chosen = [name for name in names if (region_of(name) in held) == (split == "test")]
    if radar:
        chosen = [name for name in chosen if "s1" in by_name[name]]
    if not chosen:
        raise DatasetError(f"{root} has no {split} patch" + (" with radar." if radar else ".") + " Add regions.")
    return tuple(read_triplet(name, by_name[name]) for name in chosen)


def regions_for_test(names: Sequence[str]) -> tuple[str, ...]:
    """Which regions are for testing: the samples' own, else a fifth of all by a hash of their names (D18)."""
    regions = sorted({region_of(name) for name in names})
    if set(SAMPLE_TEST) <= set(regions) and len(regions) < 20:
        return SAMPLE_TEST
    ranked = sorted(regions, key=lambda region: zlib.crc32(region.encode()))
    return tuple(sorted(ranked[: max(1, round(TEST_SHARE * len(regions)))]))


def read_triplet(name: str, files: dict[str, Path]) -> Triplet:
    """One patch from its files by kind: ``s1`` (may lack), ``s2``, ``s2_cloudy``."""
    if missing := sorted({"s2", "s2_cloudy"} - files.keys()):
        raise DatasetError(f"{name} has no {' and no '.join(missing)}. Copy the missing files, or remove the others.")
    shapes = {"s1": RADAR_BANDS, "s2": BANDS, "s2_cloudy": BANDS}
    read = {kind: _read(path, shapes[kind]) for kind, path in files.items()}
    first = read["s2"]
    for kind, (pixels, place) in read.items():
        if pixels.shape[1:] != first[0].shape[1:] or place != first[1]:
            raise DatasetError(
                f"{files[kind]} is {pixels.shape[1]} x {pixels.shape[2]} px at {place}, {files['s2']} "
                f"{first[0].shape[1]} x {first[0].shape[2]} px at {first[1]}. A triplet shows one place on one grid."
            )
    sar = read["s1"][0] if "s1" in read else None
    return Triplet(name, read["s2_cloudy"][0], first[0], sar)


def region_of(name: str) -> str:
    """Season and region of a patch.

    >>> region_of("ROIs1868_summer_102_p500")
    'ROIs1868_summer_102'
    """
    return name.rpartition("_p")[0]


def cropped(triplet: Triplet, rows: slice, cols: slice) -> Triplet:
    """A window of a triplet."""
    window = (slice(None), rows, cols)
    sar = None if triplet.sar is None else triplet.sar[window]
    marked = triplet.cloud[rows, cols]
    return replace(triplet, cloudy=triplet.cloudy[window], clear=triplet.clear[window], sar=sar, marked=marked)


def overlaid(triplet: Triplet, donor: Triplet) -> Triplet:
    """``triplet``'s clear image under the clouds of ``donor``, of the same size: its truth is of the same day."""
    cloudy = np.where(donor.cloud, donor.cloudy, triplet.clear)
    return replace(triplet, name=f"{triplet.name} under {donor.name}", cloudy=cloudy, marked=donor.cloud)


def cloud_mask(dn: NDArray[Any]) -> NDArray[np.bool_]:
    """(rows, cols) cloud of (13, rows, cols) Level 1C reflectance times 10000.

    The cloud score of Meraner et al. (ISPRS J. 166, 2020; it stems from the simple score of Google Earth Engine): the
    least of five scaled brightnesses and one minus snow, averaged over 7 x 7 px, above 0.2. Thin cirrus, cloud shadows
    and bright roofs are its limits.
    """
    band = np.asarray(dn, dtype=np.float64) / 10_000.0
    snow = (band[2] - band[11]) / np.maximum(band[2] + band[11], 1e-6)
    parts = (
        (band[1], 0.1, 0.5),
        (band[0], 0.1, 0.3),
        (band[0] + band[10], 0.15, 0.2),
        (band[3] + band[2] + band[1], 0.2, 0.8),
        (snow, 0.8, 0.6),
    )
    score = np.min([(value - low) / (high - low) for value, low, high in parts], axis=0)
    mask: NDArray[np.bool_] = _box_mean(np.clip(score, 0.0, 1.0), 3) > 0.2
    return mask


def dilated(mask: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """``mask`` grown by a square of 2 ``radius_px`` + 1."""
    padded = np.pad(mask, radius_px)
    rows, cols = mask.shape
    width = 2 * radius_px + 1
    down = np.any([padded[at : at + rows] for at in range(width)], axis=0)
    grown: NDArray[np.bool_] = np.any([down[:, at : at + cols] for at in range(width)], axis=0)
    return grown


def _box_mean(values: NDArray[np.float64], radius_px: int) -> NDArray[np.float64]:
    padded = np.pad(values, radius_px, mode="edge")
    rows, cols = values.shape
    width = 2 * radius_px + 1
    down = np.mean([padded[at : at + rows] for at in range(width)], axis=0)
    mean: NDArray[np.float64] = np.mean([down[:, at : at + cols] for at in range(width)], axis=0)
    return mean


def _files(root: Path) -> Iterator[tuple[str, str, Path]]:
    """(patch, kind, file) of all files that are called as the set calls them."""
    for path in sorted(root.rglob("ROIs*.tif")):
        found = _NAME.fullmatch(path.stem)
        if found is None:
            continue
        rois, season, kind, region, patch = found.groups()
        kind = kind or path.parent.name
        if kind in _KINDS:
            yield f"{rois}_{season}_{region}_p{patch}", _KINDS[kind], path


def _read(path: Path, bands: int) -> tuple[Float32Array, tuple[Any, ...]]:
    """Pixels, missing ones 0, and where they lie."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as source:
            if source.count != bands:
                raise DatasetError(f"{path} has {source.count} bands, SEN12MS-CR has {bands} there. Take the original.")
            place = str(source.crs), tuple(round(value, 6) for value in source.transform)
            pixels: Any = source.read(out_dtype="float32")
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be read: {error}. Copy it again.") from error
    return np.nan_to_num(pixels, copy=False), place
