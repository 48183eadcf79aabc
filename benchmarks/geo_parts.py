"""What the geo-localisation bench does besides fitting: matcher, galleries, flights, one real photograph."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.baselines.matcher import FEATURES, SKIPPED, Matcher, available
from exporters.checkpoint import load_checkpoint
from exporters.courses.geo_encoder import SurveyCourse, embedded
from exporters.gallery.build import Plan, batched, build_gallery, null_of
from exporters.gallery.sight import Sight, tile_of
from runtime.locate import Places, look_up, track_of

HIT_M = 10.0
Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def matcher_figures(made: SurveyCourse) -> Any:
    """SIFT and ORB with RANSAC on the same queries, at the surveys' full resolution."""
    if not available():
        return SKIPPED
    return {features: _matched(made, features) for features in FEATURES}


def _matched(made: SurveyCourse, features: str) -> dict[str, float | None]:
    edge, gsd_m = made.tile_px, made.surveys.gsd_m
    places = [(place.row_px, place.col_px) for place in made.surveys.of("test")]
    two = ((made.surveys.query, made.surveys.reference), (made.surveys.reference, made.surveys.query))
    plain = [_errors_m(Matcher(known, features), asked, places, edge, gsd_m) for asked, known in two]
    matcher = Matcher(made.surveys.reference, features)
    dense = _errors_m(matcher, made.surveys.query, dense_corners(made), edge, gsd_m)
    right_m = edge * gsd_m / 2
    return {
        "r1": float(np.mean([np.mean(errors < right_m) for errors in plain])),
        "found_frac": float(np.mean(np.isfinite(dense))),
        "dense_r1": float(np.mean(dense <= HIT_M)),
        "dense_median_m_of_found": float(np.median(dense[np.isfinite(dense)])) if np.isfinite(dense).any() else None,
    }


def _errors_m(
    matcher: Matcher, pixels: NDArray[np.uint8], corners: Sequence[tuple[int, int]], edge: int, gsd_m: float
) -> NDArray[np.float64]:
    """Distance of each answer from the truth, infinite where there is none."""
    errors = []
    for row, col in corners:
        found = matcher.find(pixels[:, row : row + edge, col : col + edge])
        apart = math.hypot(found.row_px - row - (edge - 1) / 2, found.col_px - col - (edge - 1) / 2) * gsd_m
        errors.append(apart if found.inliers else math.inf)
    return np.array(errors)


def dense_corners(made: SurveyCourse) -> list[tuple[int, int]]:
    """The 100 places of the course's dense protocol."""
    rng = np.random.default_rng(2025)
    rows, cols = made.surveys.query.shape[1:]
    left = min(place.col_px for place in made.surveys.of("test"))
    edge = made.tile_px
    return [(int(r), int(c)) for r, c in zip(rng.integers(0, rows - edge + 1, 100), rng.integers(left, cols - edge + 1, 100), strict=True)]  # fmt: skip  # noqa: E501


def flights(given: argparse.Namespace, made: SurveyCourse, seed: int) -> dict[str, Any]:
    """Single pictures and tracks over the test area, a gallery that does not hold it, other ground, one photograph."""
    checkpoint = load_checkpoint(given.out / f"mixer-{seed}" / "best.pt")
    network = checkpoint.build().eval()
    embed = batched(lambda tiles: embedded(network, tiles))
    scale = float(network.log_scale.detach().exp())  # type: ignore[operator, union-attr]
    plan = Plan(
        package="bench", package_sha256="", edge_px=made.edge_px, tile_m=made.tile_m, step_m=made.tile_m / 4,
        temperature=1.0 / scale, crs="local",
    )  # fmt: skip
    folder = given.data / "cvgl-ortholoc-tiles"
    with tempfile.TemporaryDirectory() as scratch:
        known = train_part(made, folder / "urban_residential_DOP.tif", Path(scratch) / "train.tif")
        gallery = build_gallery(embed, plan, [folder / "urban_residential_xDOP.tif"], calibrate=[known])
    whole = Places.of(gallery)
    left_m = min(place.col_px for place in made.surveys.of("test")) * made.surveys.gsd_m - 92.83
    west = Places.of(_part(gallery, gallery.centre_m[:, 0] < left_m - 0.5 * made.tile_m))
    pictures = Pictures(made, embed)
    scenes = [
        given.data / "scenes-geotiff" / name for name in ("uav_orthophoto_pix4d_rgba.tif", "neon_osbs_trees_10cm.tif")
    ]
    foreign = null_of(embed, plan, scenes, gallery.vectors, gallery.centre_m, gallery.crs)
    asked = [pictures.at(*corner) for corner in dense_corners(made)]
    return {
        "temperature": plan.temperature,
        "gallery_views": len(gallery),
        "threshold_at_5_percent": gallery.threshold(0.05),
        "single": singles(whole, asked),
        "gallery_without_the_area": without(west, asked),
        "other_ground": {"pictures": len(foreign), "fits_frac": float(np.mean(foreign >= gallery.threshold(0.05)))},
        "tracks": tracks(whole, west, pictures, made),
        "photograph": photograph(folder, whole, embed),
    }


def train_part(made: SurveyCourse, source: Path, target: Path) -> Path:
    """The query survey left of the test area as a GeoTIFF: it calibrates what fits by chance."""
    import rasterio
    from rasterio.windows import Window

    cols = min(place.col_px for place in made.surveys.of("test"))
    with rasterio.open(source) as file:
        profile = {**file.profile, "width": cols, "compress": "deflate", "photometric": "rgb"}
        with rasterio.open(target, "w", **profile) as out:
            out.write(file.read(window=Window(0, 0, cols, file.height)))
    return target


class Pictures:
    """Vectors and true middles of pictures of the query survey, by their corner."""

    def __init__(self, made: SurveyCourse, embed: Embed) -> None:
        self.made, self.embed = made, embed

    def at(self, row: int, col: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Vector and place of the tile with that corner, in metres of the surveys' frame."""
        gsd_m, half = self.made.surveys.gsd_m, self.made.tile_px / 2
        place = np.array([-92.82 + (col + half) * gsd_m, 92.84 - (row + half) * gsd_m])
        return self.embed(self.made.cut([(row, col)], reference=False))[0], place


def _part(gallery: Any, kept: NDArray[np.bool_]) -> Any:
    from dataclasses import replace

    from exporters.gallery.build import null_within

    vectors, centre_m = gallery.vectors[kept], gallery.centre_m[kept]
    return replace(
        gallery,
        vectors=vectors,
        centre_m=centre_m,
        heading_deg=gallery.heading_deg[kept],
        tilt_deg=gallery.tilt_deg[kept],
        null_lifts=null_within(vectors, centre_m, gallery.tile_m, gallery.temperature),
    )


def singles(places: Places, asked: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """What single pictures say, and whether the error estimate holds."""
    sight = Sight.straight_down(0.1)
    fixes = [look_up(places, vector, "", sight, false_fix_frac=0.05) for vector, _ in asked]
    errors = [
        (math.dist((fix.east_m, fix.north_m), truth), fix.error_m)
        for fix, (_, truth) in zip(fixes, asked, strict=True)
        if fix.east_m is not None and fix.north_m is not None
    ]
    apart = [error for error, _ in errors]
    said = {status: sum(fix.status == status for fix in fixes) for status in ("fix", "ambiguous", "no match")}
    return {
        "pictures": len(asked),
        **said,
        "median_m": float(np.median(apart)) if apart else None,
        "beyond_23_m": sum(error > 23.0 for error in apart),
        "within_2_sigma_frac": float(np.mean([error <= 2 * sigma for error, sigma in errors if sigma]))
        if apart
        else None,
    }


def without(places: Places, asked: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Pictures of ground that the gallery does not hold: any fix is a false one."""
    sight = Sight.straight_down(0.1)
    fixes = [look_up(places, vector, "", sight, false_fix_frac=0.05) for vector, _ in asked]
    return {"pictures": len(asked), "false_fixes": sum(fix.status == "fix" for fix in fixes)}


def tracks(whole: Places, west: Places, pictures: Pictures, made: SurveyCourse, count: int = 20) -> dict[str, Any]:
    """Straight flights of eight pictures, 16 m apart, over the test area; odometry with 2 m of error a step."""
    rng = np.random.default_rng(7)
    gsd_m, edge = made.surveys.gsd_m, made.tile_px
    step_px, left = round(16.0 / gsd_m), min(place.col_px for place in made.surveys.of("test"))
    single, fused, false, last_fix = [], [], 0, 0
    for _ in range(count):
        row = int(rng.integers(0, made.surveys.query.shape[1] - edge - 7 * step_px))
        col = int(rng.integers(left, made.surveys.query.shape[2] - edge))
        seen = [pictures.at(row + at * step_px, col) for at in range(8)]
        here, elsewhere = track_of(whole, 4.0), track_of(west, 4.0)
        for at, (vector, truth) in enumerate(seen):
            moved = None if at == 0 else tuple(truth - seen[at - 1][1] + rng.normal(0.0, 2.0, 2))
            fix = look_up(whole, vector, "", Sight.straight_down(0.1), false_fix_frac=0.05)
            state = here.step(whole.scores(whole.views(vector)), moved)
            lost = elsewhere.step(west.scores(west.views(vector)), moved)
            single.append(math.inf if fix.east_m is None else math.dist((fix.east_m, fix.north_m), truth))
            fused.append(math.inf if state.middle_m is None else math.dist(state.middle_m, truth))
            false += lost.middle_m is not None
            last_fix += at == 7 and state.middle_m is not None
    return {
        "tracks": count,
        "pictures": len(single),
        "single": _summary(single),
        "fused": _summary(fused),
        "tracks_that_end_with_a_fix": last_fix,
        "false_fixes_without_the_area": false,
    }


def _summary(errors: Sequence[float]) -> dict[str, Any]:
    have = [error for error in errors if math.isfinite(error)]
    return {
        "answered_frac": len(have) / len(errors),
        "median_m": float(np.median(have)) if have else None,
        "beyond_23_m": sum(error > 23.0 for error in have),
    }


def photograph(folder: Path, places: Places, embed: Embed) -> dict[str, Any]:
    """The slanted drone photograph, with its attitude and height above the frame's zero but not its place."""
    from runtime.locate import read_picture

    pose = np.array(json.loads((folder / "urban_residential_extrinsics.json").read_text())["pose_w2c"])
    lens = json.loads((folder / "urban_residential_intrinsics.json").read_text())["intrinsics"]
    place = -pose[:, :3].T @ pose[:, 3]
    ahead = pose[2, :3]
    sight = Sight(
        focal_px=float(lens[0][0]),
        height_m=float(place[2]),
        heading_deg=math.degrees(math.atan2(ahead[0], ahead[1])),
        tilt_deg=math.degrees(math.asin(-ahead[2])),
    )
    pixels, _ = read_picture(folder / "urban_residential.jpg")
    gallery = places.gallery
    tile = tile_of(pixels, sight, tile_m=gallery.tile_m, edge_px=gallery.edge_px)
    fix = look_up(places, embed(tile[None])[0], "photograph", sight, false_fix_frac=0.05)
    best = fix.candidates[0]
    return {
        "tilt_deg": sight.tilt_deg,
        "height_m": sight.height_m,
        "status": fix.status,
        "score": fix.score,
        "lift": fix.lift,
        "threshold": fix.threshold,
        "best_candidate_error_m": math.dist((best.east_m, best.north_m), place[:2]),
        "candidate_errors_m": [math.dist((one.east_m, one.north_m), place[:2]) for one in fix.candidates],
    }
