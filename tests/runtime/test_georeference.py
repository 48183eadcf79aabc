"""From pixels to the ground, against rasterio's own coordinates and against RFC 7946."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import FrameError
from runtime.frames import open_frame
from runtime.georeference import (
    Box,
    ControlPoint,
    Georeference,
    Ring,
    footprints,
    geometry_of,
    pixel_size_m,
    ring_of,
)
from runtime.records import Footprint

UTM32 = Georeference("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0))


def doubled_area(ring: Ring) -> float:
    return sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairwise(ring))


def test_the_central_meridian_of_a_utm_zone_is_where_it_should_be() -> None:
    (footprint,) = footprints(UTM32, [Box(0, 0, 64, 64)])
    assert footprint.ring_deg[0] == pytest.approx((9.0, 47.853342), abs=1e-6)
    assert footprint.ring_deg[0] == footprint.ring_deg[-1]
    assert doubled_area(footprint.ring_deg) > 0
    assert pixel_size_m(UTM32, 64, 64) == pytest.approx(10.0 / 0.9996, rel=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "landsat7_bahamas_rgb.tif",
        "naip_2020_rgbn_5m.tif",
        "neon_osbs_trees_10cm.tif",
        "rapideye_sanfrancisco_ships_rgba.tif",
        "uav_orthophoto_pix4d_rgba.tif",
        "worldview_atlanta_pan_05m.tif",
    ],
)
def test_corners_of_real_scenes_agree_with_rasterio_to_half_a_pixel(data_dir: Path, name: str) -> None:
    import rasterio
    from rasterio.warp import transform

    path = data_dir / "scenes-geotiff" / name
    boxes = [Box(0, 0, 64, 64), Box(100, 200, 32, 48)]
    with open_frame(path, value_range=(0, 3000)) as frame:
        assert frame.georeference is not None
        places = footprints(frame.georeference, boxes)
    with rasterio.open(path) as dataset:
        for box, place in zip(boxes, places, strict=True):
            lon, lat = zip(*place.ring_deg, strict=True)
            placed = list(zip(*transform("EPSG:4326", dataset.crs, lon, lat)[:2], strict=True))
            bottom, right = box.row_px + box.rows_px, box.col_px + box.cols_px
            for row, col in ((box.row_px, box.col_px), (bottom, box.col_px), (bottom, right), (box.row_px, right)):
                corner = dataset.xy(row, col, offset="ul")
                assert min(math.dist(corner, spot) for spot in placed) < 0.01 * dataset.res[0]


def test_control_points_of_a_real_scene_are_met_and_left_out_ones_predicted(data_dir: Path) -> None:
    with open_frame(data_dir / "scenes-geotiff" / "sentinel1_grd_gcps.tif", value_range=(0, 1000)) as frame:
        whole = frame.georeference
        assert frame.gsd_m == pytest.approx(201.8, abs=0.1)
    assert whole is not None
    assert whole.affine is None
    assert len(whole.points) == 210
    rows, cols = np.array([p.row_px for p in whole.points]), np.array([p.col_px for p in whole.points])
    lon, lat = whole.to_wgs84(rows, cols)
    assert np.allclose(lon, [p.x for p in whole.points], atol=1e-9)
    assert np.allclose(lat, [p.y for p in whole.points], atol=1e-9)
    for out in range(0, 210, 15):
        point = whole.points[out]
        rest = Georeference(whole.crs_wkt, None, whole.points[:out] + whole.points[out + 1 :])
        east, north = rest.to_wgs84(np.array([point.row_px]), np.array([point.col_px]))
        miss_m = 111_200 * math.hypot((east[0] - point.x) * math.cos(math.radians(point.y)), north[0] - point.y)
        assert miss_m < 0.5 * 201.8


def test_three_control_points_carry_a_plane() -> None:
    points = tuple(
        ControlPoint(row, col, 10 + 0.01 * col, 50 - 0.01 * row) for row, col in ((0, 0), (0, 100), (100, 0))
    )
    lon, lat = Georeference("EPSG:4326", None, points).to_wgs84(np.array([100.0]), np.array([100.0]))
    assert (lon[0], lat[0]) == (pytest.approx(11.0, abs=1e-6), pytest.approx(49.0, abs=1e-6))


def test_a_tile_across_the_antimeridian_is_cut_in_two_right_handed_parts() -> None:
    fiji = Georeference("EPSG:32760", (100.0, 0.0, 700_000.0, 0.0, -100.0, 8_000_000.0))
    (footprint,) = footprints(fiji, [Box(0, 0, 3000, 3000)])
    geometry = geometry_of(footprint)
    assert geometry is not None
    assert geometry["type"] == "MultiPolygon"
    west, east = (part[0] for part in geometry["coordinates"])
    assert max(lon for lon, _ in west) == 180.0
    assert min(lon for lon, _ in east) == -180.0
    for ring in (west, east):
        closed = tuple((lon, lat) for lon, lat in ring)
        assert doubled_area(closed) > 0
        assert closed[0] == closed[-1]


def test_a_tile_over_a_pole_reaches_it() -> None:
    arctic = Georeference("EPSG:3413", (10.0, 0.0, -320.0, 0.0, -10.0, 320.0))
    geometry = geometry_of(footprints(arctic, [Box(0, 0, 64, 64)])[0])
    assert geometry is not None
    (ring,) = geometry["coordinates"]
    assert max(lat for _, lat in ring) == 90.0
    assert {lon for lon, _ in ring} >= {-180.0, 180.0}


@settings(max_examples=200, deadline=None)
@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-80, 80),
    width=st.floats(0.001, 5),
    height=st.floats(0.001, 5),
    start=st.integers(0, 3),
    mirrored=st.booleans(),
)
def test_any_four_corners_become_closed_right_handed_rings_of_the_same_area(
    lon: float, lat: float, width: float, height: float, start: int, mirrored: bool
) -> None:
    corners = [(lon, lat), (lon + width, lat), (lon + width, lat + height), (lon, lat + height)]
    wrapped = [((x + 180.0) % 360.0 - 180.0, y) for x, y in corners]
    turned = wrapped[start:] + wrapped[:start]
    geometry = geometry_of(Footprint(ring_of(turned[::-1] if mirrored else turned)))
    assert geometry is not None
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    area = 0.0
    for (ring,) in polygons:
        assert ring[0] == ring[-1]
        assert all(-180.0 <= x <= 180.0 for x, _ in ring)
        area += doubled_area(tuple((x - ring[0][0], y - ring[0][1]) for x, y in ring))
    assert area == pytest.approx(2 * width * height, rel=1e-3, abs=1e-5)


def test_no_place_has_no_geometry() -> None:
    assert geometry_of(None) is None
    assert footprints(UTM32, []) == []


def test_positions_that_no_place_on_earth_has_are_refused() -> None:
    lost = Georeference("EPSG:32632", (1e12, 0.0, 0.0, 0.0, 1e12, 0.0))
    with pytest.raises(FrameError, match="CRS"):
        footprints(lost, [Box(5, 5, 64, 64)])
