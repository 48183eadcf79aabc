"""A scene's products as a STAC item (1.1.0), with the projection and processing facts that catalogues look for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporters.package import ModelPackage

from ..frame import Frame
from ..georeference import MapGeoreference, geometry_of, outlines
from ..georeference.place import corners_of
from ..georeference.rings import Float64Array
from .geojson import rfc3339

_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
_ROLES = {
    "geojson": "application/geo+json",
    "npy": "application/octet-stream",
    "tif": "image/tiff; application=geotiff; profile=cloud-optimized",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the item: its name relative to the item, and what it is."""

    href: str
    title: str


def item(
    frame: Frame,
    package: ModelPackage,
    assets: Mapping[str, Asset],
    *,
    software: str,
    created_unix_s: float | None = None,
) -> dict[str, Any]:
    """The item. A frame that does not say when it was taken carries the open interval that STAC asks for instead.

    ``created_unix_s`` is left out unless given, so that equal runs write equal files.
    """
    place = _place(frame)
    moment = rfc3339(frame.captured_unix_s)
    properties: dict[str, Any] = {
        "datetime": moment,
        "processing:software": dict([software.split(" ", 1)]),
        "processing:lineage": f"{package.info.id} v{package.info.version} (sha256 {package.sha256})",
        "proj:shape": [frame.height_px, frame.width_px],
    }
    if moment is None:
        properties |= {"start_datetime": "1970-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}
    if created_unix_s is not None:
        properties["created"] = rfc3339(created_unix_s)
    if frame.gsd_m is not None:
        properties["gsd"] = round(frame.gsd_m, 4)
    if isinstance(frame.georeference, MapGeoreference):
        properties |= _projection(frame.georeference)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_PROJECTION, _PROCESSING],
        "id": frame.frame_id,
        **place,
        "properties": properties,
        "links": [],
        "assets": {
            name: {
                "href": asset.href,
                "title": asset.title,
                "type": _ROLES[asset.href.rsplit(".", 1)[1]],
                "roles": ["data"],
            }
            for name, asset in assets.items()
        },
    }


def _place(frame: Frame) -> dict[str, Any]:
    """Geometry and bounding box of the whole frame, its edges followed in eight steps each."""
    if frame.georeference is None:
        return {"geometry": None}
    (outline,) = outlines(frame.georeference, _edge(frame.height_px, frame.width_px)[None])
    geometry = geometry_of(outline)
    assert geometry is not None
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    lons = [[lon for ring in polygon for lon, _ in ring] for polygon in polygons]
    lats = [lat for polygon in polygons for ring in polygon for _, lat in ring]
    west = min(lons[0]) if len(polygons) == 1 else max(map(min, lons))
    east = max(lons[0]) if len(polygons) == 1 else min(map(max, lons))
    return {"geometry": geometry, "bbox": [west, min(lats), east, max(lats)]}


def _edge(height_px: int, width_px: int, steps: int = 8) -> Float64Array:
    """(4 * steps, 2) rows and columns around the frame."""
    corners = corners_of(np.array([[0.0, 0.0, height_px, width_px]]))[0]
    share = np.arange(steps)[:, None] / steps
    sides = [a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    return np.concatenate(sides)


def _projection(place: MapGeoreference) -> dict[str, Any]:
    from rasterio.crs import CRS

    code = CRS.from_user_input(place.crs_wkt).to_epsg()
    found: dict[str, Any] = {"proj:code": None if code is None else f"EPSG:{code}"}
    if code is None:
        found["proj:wkt2"] = place.crs_wkt
    if place.affine is not None:
        found["proj:transform"] = list(place.affine)
    return found
