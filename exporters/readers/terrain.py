"""Heights: elevation models as rasters, pairs of a coarse surface and a finer terrain, and outlines as their guide.

Pairs come from LiDAR tiles (a coarse model is the block mean of the fine one) or from DFC30 (Zenodo 10937848).
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..baselines.upsampling import cubic
from ..errors import DatasetError

Float32Array = NDArray[np.float32]
LOWEST_M, HIGHEST_M = -500.0, 9000.0
"""The Dead Sea lies at -430 m, Everest's top at 8,849 m."""
TEST_REGIONS = ("Angers", "Lille_Arras_Lens_Douai_Henin", "Vannes")
"""Of DFC30; the other thirteen are for training."""
GUIDES = {"": "", "landuse": "UA2012", "canopy": "CHM"}
"""Third branch of DFC30, and its folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Heights:
    """An elevation model. ``values_m``: (rows, cols) float32, NaN where there is no data; may be negative."""

    name: str
    values_m: Float32Array
    gsd_m: float
    affine: tuple[float, float, float, float, float, float]
    crs_wkt: str

    def part(self, rows: slice, cols: slice = slice(None)) -> Heights:
        """A window of it, under the same name; its place is not kept."""
        return Heights(self.name, self.values_m[rows, cols], self.gsd_m, self.affine, self.crs_wkt)


@dataclass(frozen=True, slots=True, eq=False)
class HeightPair:
    """``given_m`` (coarse, brought to the fine grid) and ``truth_m``: (rows, cols); ``guide``: (bands, rows, cols)."""

    name: str
    coarse_m: Float32Array
    given_m: Float32Array
    truth_m: Float32Array
    guide: Float32Array
    gsd_m: float

    @property
    def stacked(self) -> Float32Array:
        """(1 + bands, rows, cols): what tiles are cut from."""
        return np.concatenate([self.given_m[None], self.guide])


@dataclass(frozen=True, slots=True)
class DfcSample:
    """The files of one square kilometre of DFC30."""

    region: str
    image: Path
    truth: Path
    given: Path
    aux: Path | None


def read_heights(path: Path) -> Heights:
    """The elevation model in ``path``: a raster of one band that GDAL knows.

    Raises DatasetError for several bands, values that are no heights on Earth (an undeclared value for no data, such as
    -9999, or another unit), and files without a single height.
    """
    values, profile = _read(path)
    if len(values) != 1:
        raise DatasetError(f"{path} has {len(values)} bands; an elevation model has one. Choose the band of heights.")
    heights = values[0].astype(np.float32)
    missing = ~np.isfinite(heights)
    if profile["nodata"] is not None and np.isfinite(profile["nodata"]):
        missing |= heights == np.float32(profile["nodata"])
    heights[missing] = np.nan
    if missing.all():
        raise DatasetError(f"{path} holds no height at all, only the value for no data. Fetch it again.")
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    if low < LOWEST_M or high > HIGHEST_M:
        odd = low if low < LOWEST_M else high
        raise DatasetError(
            f"{path} holds {odd:g}, which is no height on Earth in metres. If it stands for no data, say so in the "
            f"file (gdal_edit.py -a_nodata {odd:g}); else convert the heights to metres."
        )
    affine = profile["transform"]
    return Heights(path.stem, heights, abs(float(affine[0])), tuple(affine[:6]), profile["crs"])


def block_mean(values: NDArray[np.floating[Any]], factor: int) -> Float32Array:
    """Means of factor x factor pixels, whole blocks from the upper left; NaN where over half of a block is missing."""
    rows, cols = (size // factor for size in values.shape)
    if factor < 1 or not rows or not cols:
        raise DatasetError(f"Blocks of {factor} px do not fit into {values.shape} px. Use smaller blocks.")
    blocks = values[: rows * factor, : cols * factor].astype(np.float64).reshape(rows, factor, cols, factor)
    known = np.isfinite(blocks)
    count = known.sum((1, 3))
    total = np.where(known, blocks, 0.0).sum((1, 3))
    enough = 2 * count >= factor * factor
    return np.where(enough, total / np.maximum(count, 1), np.nan).astype(np.float32)


def make_pair(
    name: str,
    surface: Heights,
    terrain: Heights,
    *,
    coarse_m: float = 30.0,
    fine_m: float = 5.0,
    guide: Float32Array | None = None,
    kernel: str = "keys",
) -> HeightPair:
    """``surface`` as a coarse model would see it, brought to ``fine_m`` by cubic interpolation, and ``terrain`` there.

    ``guide``: (bands, rows, cols) on the same grid as both. Raises DatasetError for grids that do not match, and for
    gaps in the surface of more than half a coarse pixel.
    """
    if surface.values_m.shape != terrain.values_m.shape or surface.gsd_m != terrain.gsd_m:
        raise DatasetError(
            f"{surface.name} is {surface.values_m.shape} px of {surface.gsd_m} m, {terrain.name} "
            f"{terrain.values_m.shape} px of {terrain.gsd_m} m. Bring them to one grid."
        )
    wide, narrow = _steps(coarse_m, surface.gsd_m), _steps(fine_m, surface.gsd_m)
    if wide % narrow:
        raise DatasetError(f"{coarse_m} m is no multiple of {fine_m} m. Choose sizes that divide each other.")
    coarse = block_mean(surface.values_m, wide)
    if not np.isfinite(coarse).all():
        raise DatasetError(f"{surface.name} has gaps wider than half of {coarse_m} m. Use a part without them.")
    rows, cols = (size * wide // narrow for size in coarse.shape)
    extra = np.zeros((0, *terrain.values_m.shape), dtype=np.float32) if guide is None else guide
    fine_guide = [block_mean(extra[at], narrow)[:rows, :cols] for at in range(len(extra))]
    return HeightPair(
        name,
        coarse,
        cubic(coarse, wide // narrow, kernel=kernel).astype(np.float32),
        block_mean(terrain.values_m, narrow)[:rows, :cols],
        np.stack(fine_guide) if fine_guide else np.zeros((0, rows, cols), dtype=np.float32),
        fine_m,
    )


def outlines(path: Path, like: Heights) -> Float32Array:
    """(rows, cols) of 1 inside the polygons of a GeoJSON file (WGS 84) and 0 outside, on the grid of ``like``."""
    from rasterio.features import rasterize
    from rasterio.transform import Affine
    from rasterio.warp import transform_geom

    if not like.crs_wkt:
        raise DatasetError(
            f"{like.name} does not say where it lies, so outlines cannot be laid over it. Georeference it."
        )
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        shapes = [transform_geom("OGC:CRS84", like.crs_wkt, feature["geometry"]) for feature in features]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no GeoJSON collection of outlines: {error}. Check the file.") from error
    if not shapes:
        return np.zeros(like.values_m.shape, dtype=np.float32)
    drawn: Any = rasterize(shapes, out_shape=like.values_m.shape, transform=Affine(*like.affine))
    inside: Float32Array = drawn.astype(np.float32)
    return inside


def dfc30_samples(folder: Path, split: str, *, guide: str = "") -> tuple[DfcSample, ...]:
    """The samples of ``train`` or ``test`` regions in ``folder`` (``DFC30_8m`` or ``DFC30_3m``), paired by their ids.

    ``guide``: of the third branch, "", "landuse" or "canopy". Raises DatasetError where folders do not match.
    """
    if guide not in GUIDES:
        raise DatasetError(f"DFC30 has no guide {guide!r}. Use one of {', '.join(map(repr, GUIDES))}.")
    regions = sorted(path for path in folder.iterdir() if (path / "RGEALTI").is_dir()) if folder.is_dir() else []
    if not regions:
        raise DatasetError(f"{folder} holds no region of DFC30 (folders with RGEALTI). Give DFC30_8m or DFC30_3m.")
    samples: list[DfcSample] = []
    for region in regions:
        if (region.name in TEST_REGIONS) == (split == "test"):
            samples += _region(region, guide)
    return tuple(samples)


def read_dfc30(sample: DfcSample) -> tuple[HeightPair, NDArray[np.uint8]]:
    """Given and true heights with the third branch's guide as (bands, rows, cols), and the picture (3, rows, cols).

    Land use keeps its fifteen layers, layer i times (i + 1) / 16; canopy heights are in m.
    """
    given, truth = read_heights(sample.given), read_heights(sample.truth)
    picture = _read(sample.image)[0].astype(np.uint8)
    if given.values_m.shape != truth.values_m.shape or picture.shape != (3, *truth.values_m.shape):
        raise DatasetError(
            f"{sample.image.name} is {picture.shape}, its heights {given.values_m.shape} and {truth.values_m.shape}. "
            "Fetch the sample again."
        )
    aux = np.zeros((0, *truth.values_m.shape), dtype=np.float32)
    if sample.aux is not None:
        layers = _read(sample.aux)[0].astype(np.float32)
        steps = (np.arange(len(layers)) + 1) / 16 if len(layers) > 1 else np.ones(1)
        aux = layers * steps[:, None, None].astype(np.float32)
    name = f"{sample.region}/{sample.truth.stem}"
    return HeightPair(name, given.values_m, given.values_m, truth.values_m, aux, given.gsd_m), picture


def _region(region: Path, guide: str) -> list[DfcSample]:
    kinds = ["BDORTHO", "RGEALTI", "COP30", *([GUIDES[guide]] if guide else [])]
    files = {
        kind: {path.stem.partition("_")[0]: path for path in sorted((region / kind).glob("*.tif"))} for kind in kinds
    }
    ids = {kind: set(found) for kind, found in files.items()}
    if different := [kind for kind in kinds if ids[kind] != ids["RGEALTI"]]:
        raise DatasetError(
            f"{region.name} has {len(ids['RGEALTI'])} files in RGEALTI and {len(ids[different[0]])} in {different[0]}, "
            "or others. Fetch the region again."
        )
    return [
        DfcSample(
            region.name,
            image=files["BDORTHO"][one],
            truth=files["RGEALTI"][one],
            given=files["COP30"][one],
            aux=files[GUIDES[guide]][one] if guide else None,
        )
        for one in sorted(ids["RGEALTI"])
    ]


def _steps(size_m: float, gsd_m: float) -> int:
    steps = round(size_m / gsd_m)
    if steps < 1 or abs(steps * gsd_m - size_m) > 1e-6 * size_m:
        raise DatasetError(f"{size_m} m is no multiple of the grid's {gsd_m} m. Choose another size.")
    return steps


def _read(path: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    """All bands of a raster and what it says of itself."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not path.is_file():
        raise DatasetError(f"There is no {path}. Give the file of an elevation model, a picture or a guide.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                crs = "" if image.crs is None else image.crs.to_wkt()
                return image.read(), {"nodata": image.nodata, "transform": image.transform, "crs": crs}
    except (RasterioError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Convert it to GeoTIFF.") from error
