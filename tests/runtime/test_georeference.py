"""From pixels to the ground, against rasterio's own coordinates and against RFC 7946."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import FrameError
from runtime.frames import open_frame
from runtime.georeference import (
    Box,
    CameraPose,
    ControlPoint,
    MapGeoreference,
    PoseGeoreference,
    Ring,
    Rpc,
    RpcGeoreference,
    footprints,
    geometry_of,
    pixel_size_m,
    ring_of,
)
from runtime.records import Footprint

UTM32 = MapGeoreference("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0))


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
        rest = MapGeoreference(whole.crs_wkt, None, whole.points[:out] + whole.points[out + 1 :])
        east, north = rest.to_wgs84(np.array([point.row_px]), np.array([point.col_px]))
        miss_m = 111_200 * math.hypot((east[0] - point.x) * math.cos(math.radians(point.y)), north[0] - point.y)
        assert miss_m < 0.5 * 201.8


def test_three_control_points_carry_a_plane() -> None:
    points = tuple(
        ControlPoint(row, col, 10 + 0.01 * col, 50 - 0.01 * row) for row, col in ((0, 0), (0, 100), (100, 0))
    )
    lon, lat = MapGeoreference("EPSG:4326", None, points).to_wgs84(np.array([100.0]), np.array([100.0]))
    assert (lon[0], lat[0]) == (pytest.approx(11.0, abs=1e-6), pytest.approx(49.0, abs=1e-6))


def test_a_tile_across_the_antimeridian_is_cut_in_two_right_handed_parts() -> None:
    fiji = MapGeoreference("EPSG:32760", (100.0, 0.0, 700_000.0, 0.0, -100.0, 8_000_000.0))
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
    arctic = MapGeoreference("EPSG:3413", (10.0, 0.0, -320.0, 0.0, -10.0, 320.0))
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
    lost = MapGeoreference("EPSG:32632", (1e12, 0.0, 0.0, 0.0, 1e12, 0.0))
    with pytest.raises(FrameError, match="CRS"):
        footprints(lost, [Box(5, 5, 64, 64)])


def pushbroom_rpc(seed: int = 3) -> Rpc:
    """A made-up but well-behaved camera: nearly affine, with cubic and height terms as a real one has."""
    rng = np.random.default_rng(seed)

    def polynomial(*leading: float) -> tuple[float, ...]:
        rest = rng.normal(0.0, 2e-4, 20)
        rest[: len(leading)] += leading
        return tuple(rest.tolist())

    return Rpc(
        line_num=polynomial(0.001, 0.06, -1.02, 0.03),
        line_den=polynomial(1.0),
        samp_num=polynomial(-0.002, 0.99, 0.05, -0.04),
        samp_den=polynomial(1.0),
        line_off_px=6000.0,
        line_scale_px=6000.0,
        samp_off_px=4500.0,
        samp_scale_px=4500.0,
        lat_off_deg=37.75,
        lat_scale_deg=0.06,
        long_off_deg=-122.4,
        long_scale_deg=0.05,
        height_off_m=80.0,
        height_scale_m=300.0,
        err_bias_m=3.0,
        err_rand_m=4.0,
    )


def test_rpcs_agree_with_gdal_to_a_hundredth_of_a_pixel() -> None:
    import rasterio.rpc
    from rasterio.transform import RPCTransformer

    rpc = pushbroom_rpc()
    theirs = rasterio.rpc.RPC(
        line_num_coeff=list(rpc.line_num),
        line_den_coeff=list(rpc.line_den),
        samp_num_coeff=list(rpc.samp_num),
        samp_den_coeff=list(rpc.samp_den),
        line_off=rpc.line_off_px,
        line_scale=rpc.line_scale_px,
        samp_off=rpc.samp_off_px,
        samp_scale=rpc.samp_scale_px,
        lat_off=rpc.lat_off_deg,
        lat_scale=rpc.lat_scale_deg,
        long_off=rpc.long_off_deg,
        long_scale=rpc.long_scale_deg,
        height_off=rpc.height_off_m,
        height_scale=rpc.height_scale_m,
    )
    rows, cols = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 12_000, 9), np.linspace(0, 9_000, 7)))
    lon, lat = RpcGeoreference(rpc, height_m=80.0).to_wgs84(rows, cols)
    with RPCTransformer(theirs, rpc_height=80.0) as transformer:
        their_rows, their_cols = transformer.rowcol(lon, lat, op=lambda value: value)
        their_lon, their_lat = transformer.xy(rows.tolist(), cols.tolist(), offset="ul")
    assert np.abs(np.array(their_rows) - rows).max() < 0.01
    assert np.abs(np.array(their_cols) - cols).max() < 0.01
    back = rpc.to_pixel(np.array(their_lon), np.array(their_lat), 80.0)
    assert np.abs(back[0] - rows).max() < 0.2  # GDAL stops its iteration at 0.1 px
    assert np.abs(back[1] - cols).max() < 0.2


def test_rpcs_carry_their_error_and_move_with_height() -> None:
    georeference = RpcGeoreference(pushbroom_rpc())
    middle = np.array([6000.5]), np.array([4500.5])
    error_m = georeference.error_m(*middle)
    assert error_m is not None
    assert error_m.tolist() == [5.0]
    low, high = (RpcGeoreference(pushbroom_rpc(), height_m=h).to_wgs84(*middle) for h in (80.0, 380.0))
    assert abs(low[0][0] - high[0][0]) > 1e-4


def test_rpcs_that_place_pixels_nowhere_are_refused() -> None:
    from dataclasses import replace

    flat = replace(pushbroom_rpc(), line_num=(0.0,) * 20)
    with pytest.raises(FrameError, match="RPC"):
        RpcGeoreference(flat).to_wgs84(np.array([10.0]), np.array([10.0]))


def test_a_scene_with_rpc_tags_is_placed_by_them(write_tiff: Callable[..., Path]) -> None:
    import rasterio
    import rasterio.rpc

    rpc = pushbroom_rpc()
    path = write_tiff("raw.tif", np.zeros((3, 32, 32), dtype=np.uint8), crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as target:
        target.rpcs = rasterio.rpc.RPC(
            line_num_coeff=list(rpc.line_num),
            line_den_coeff=list(rpc.line_den),
            samp_num_coeff=list(rpc.samp_num),
            samp_den_coeff=list(rpc.samp_den),
            line_off=16.0,
            line_scale=16.0,
            samp_off=16.0,
            samp_scale=16.0,
            lat_off=37.75,
            lat_scale=0.06,
            long_off=-122.4,
            long_scale=0.05,
            height_off=80.0,
            height_scale=300.0,
            err_bias=3.0,
            err_rand=4.0,
        )
    with open_frame(path) as frame:
        assert isinstance(frame.georeference, RpcGeoreference)
        lon, lat = frame.georeference.to_wgs84(np.array([16.5]), np.array([16.5]))
        assert (lon[0], lat[0]) == (pytest.approx(-122.4, abs=0.01), pytest.approx(37.75, abs=0.01))
        assert frame.georeference.rpc.err_bias_m == 3.0


NADIR = CameraPose(
    lon_deg=27.0,
    lat_deg=53.0,
    height_above_ground_m=100.0,
    yaw_rad=0.0,
    pitch_rad=-math.pi / 2,
    roll_rad=0.0,
    focal_length_px=1000.0,
    position_sigma_m=1.0,
    height_sigma_m=2.0,
    attitude_sigma_rad=0.01,
)


@pytest.mark.parametrize(
    ("yaw_deg", "pitch_deg", "roll_deg", "row", "col", "east_m", "north_m"),
    [
        (0, -90, 0, 500, 1000, 0, 0),
        (0, -90, 0, 0, 1000, 0, 50),
        (0, -90, 0, 500, 2000, 100, 0),
        (90, -90, 0, 0, 1000, 50, 0),
        (0, -45, 0, 500, 1000, 0, 100),
        (90, -45, 0, 500, 1000, 100, 0),
        (0, -90, 90, 500, 2000, 0, -100),
    ],
)
def test_a_camera_sees_the_ground_where_geometry_says(
    yaw_deg: float, pitch_deg: float, roll_deg: float, row: float, col: float, east_m: float, north_m: float
) -> None:
    from dataclasses import replace

    pose = replace(
        NADIR, yaw_rad=math.radians(yaw_deg), pitch_rad=math.radians(pitch_deg), roll_rad=math.radians(roll_deg)
    )
    lon, lat = PoseGeoreference(pose, 2000, 1000).to_wgs84(np.array([float(row)]), np.array([float(col)]))
    degree_m = 111_278.0  # of latitude at 53 degrees north
    assert (lat[0] - 53.0) * degree_m == pytest.approx(north_m, abs=0.1)
    assert (lon[0] - 27.0) * 111_320 * math.cos(math.radians(53.0)) == pytest.approx(east_m, abs=0.25)


def test_the_error_of_a_pose_is_that_of_a_thousand_drawn_poses() -> None:
    from dataclasses import replace

    rng, rows, cols = np.random.default_rng(8), np.array([0.0, 500.0, 900.0]), np.array([0.0, 1000.0, 1800.0])
    pose = replace(NADIR, pitch_rad=math.radians(-60.0), roll_rad=0.1, yaw_rad=1.0)
    draws = []
    for east, north, height, yaw, pitch, roll in rng.normal(size=(1000, 6)):
        moved = replace(
            pose,
            height_above_ground_m=100 + 2 * height,
            yaw_rad=1.0 + 0.01 * yaw,
            pitch_rad=pose.pitch_rad + 0.01 * pitch,
            roll_rad=0.1 + 0.01 * roll,
        )
        lon, lat = PoseGeoreference(moved, 2000, 1000).to_wgs84(rows, cols)
        scale = math.cos(math.radians(53.0))
        shift = math.sqrt(0.5)  # position_sigma_m is of the horizontal distance, shared by both axes
        draws.append((lon * 111_320 * scale + shift * east, lat * 111_278 + shift * north))
    spread = np.sqrt(np.array(draws).var(axis=0).sum(axis=0))
    error_m = PoseGeoreference(pose, 2000, 1000).error_m(rows, cols)
    assert error_m is not None
    assert np.abs(error_m / spread - 1).max() < 0.1


def test_a_camera_that_sees_the_horizon_is_refused() -> None:
    from dataclasses import replace

    level = PoseGeoreference(replace(NADIR, pitch_rad=math.radians(-5.0)), 2000, 1000)
    with pytest.raises(FrameError, match="horizon"):
        level.to_wgs84(np.array([0.0]), np.array([0.0]))


def test_a_drone_photo_is_placed_by_what_the_drone_wrote_into_it(data_dir: Path) -> None:
    with open_frame(data_dir / "scenes-large-images" / "DJI_0022.jpg") as frame:
        assert isinstance(frame.georeference, PoseGeoreference)
        assert frame.gsd_m == pytest.approx(119.4 / frame.georeference.pose.focal_length_px, rel=0.1)
        lon, lat = frame.georeference.to_wgs84(np.array([1125.0]), np.array([2000.0]))
        error_m = frame.georeference.error_m(np.array([1125.0, 0.0]), np.array([2000.0, 0.0]))
    assert error_m is not None
    assert 3.0 < error_m[0] < error_m[1] < 40.0
    ahead_m = 119.4 / math.tan(math.radians(76.9))
    assert (lat[0] - (53 + 55 / 60 + 10.6802 / 3600)) * 111_290 == pytest.approx(
        ahead_m * math.cos(math.radians(126.2)), abs=0.5
    )
    assert lon[0] > 27 + 34 / 60 + 31.5703 / 3600


def test_a_pose_beside_an_image_places_it_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    profile = {"driver": "PNG", "dtype": "uint8", "count": 3, "height": 48, "width": 64}
    with pytest.warns(NotGeoreferencedWarning):
        target = rasterio.open(tmp_path / "shot.png", "w", **profile)
    with target:
        target.write(np.zeros((3, 48, 64), dtype=np.uint8))
    table = {
        "lon_deg": 10.0,
        "lat_deg": 50.0,
        "height_above_ground_m": 80.0,
        "focal_length_px": 60.0,
        "yaw_deg": 0.0,
        "pitch_deg": -90.0,
        "roll_deg": 0.0,
    }
    (tmp_path / "shot.pose.json").write_text(json.dumps(table))
    with open_frame(tmp_path / "shot.png") as frame:
        assert frame.georeference is not None
        assert frame.gsd_m == pytest.approx(80 / 60, rel=1e-3)
    for wrong in ({"lat_deg": "north"}, {"lat_deg": 95.0}, {"altitude": 3.0}, {"focal_length_px": 0.0}):
        (tmp_path / "shot.pose.json").write_text(json.dumps({**table, **wrong}))
        with pytest.raises(FrameError, match="pose"):
            open_frame(tmp_path / "shot.png")
