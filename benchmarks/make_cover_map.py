"""Draws `power_sim/data/cover_map.npz` from Natural Earth land outlines and hand-drawn regions; run by a maintainer.

    python benchmarks/make_cover_map.py land-50m.json      # from the npm package world-atlas 2.0.2

Land and sea are Natural Earth's (public domain). Everything else is drawn here from general knowledge to about five
degrees: good for "forest now, desert in three minutes", useless as a map.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

CELL_DEG = 0.5
NAMES = ("sea", "coast", "forest", "cropland", "grassland", "barren", "ice", "urban")
SEA, COAST, FOREST, CROPLAND, GRASSLAND, BARREN, ICE, URBAN = range(8)

# (south, north, west, east) in degrees; later boxes overwrite earlier ones
BOXES = {
    FOREST: [
        (50, 67, -180, 180), (-15, 6, -77, -48), (-6, 6, 8, 31),
        (-11, 20, 94, 151), (29, 48, -93, -66), (40, 60, -128, -115),
        (8, 20, -93, -80), (-47, -36, -75, -71), (-26, -12, 45, 51),
        (42, 56, 120, 145), (-30, -15, -50, -39), (4, 8, -13, 8),
    ],
    CROPLAND: [
        (42, 55, -5, 30), (44, 56, 30, 62), (8, 31, 70, 89),
        (22, 45, 105, 124), (36, 49, -104, -84), (-40, -24, -66, -50),
        (-26, -14, -57, -43), (-38, -29, 139, 151), (-35, -30, 115, 120),
        (7, 14, -12, 15), (5, 13, 35, 42), (-32, -23, 25, 32),
        (10, 18, 97, 107), (37, 44, -9, 0), (36, 42, 26, 44),
        (29, 32, 30, 33), (-9, -6, 105, 115), (31, 37, 129, 141),
    ],
    BARREN: [
        (15, 30, -18, 30), (15, 35, 33, 58), (25, 36, 58, 71),
        (36, 47, 74, 111), (37, 47, 51, 69), (-32, -19, 116, 141),
        (-30, -17, 11, 24), (-30, -16, -71, -67), (25, 41, -119, -104),
        (-51, -38, -71, -66), (29, 36, 78, 101), (67, 84, -180, 180),
        (2, 12, 43, 52),
    ],
    ICE: [(-90, -60, -180, 180), (62, 84, -55, -21), (78, 84, -180, 180)],
}  # fmt: skip

# (latitude, longitude, half width) in degrees of densely built regions
CITIES = [
    (40.7, -74.0, 1.2), (41.9, -87.7, 0.8), (34.0, -118.2, 1.0),
    (37.7, -122.2, 0.8), (29.8, -95.4, 0.7), (32.8, -96.9, 0.7),
    (33.7, -84.4, 0.7), (38.9, -77.1, 0.8), (42.3, -71.1, 0.6),
    (43.7, -79.4, 0.7), (45.5, -73.6, 0.5), (25.8, -80.2, 0.6),
    (47.5, -122.3, 0.5), (33.4, -112.0, 0.6), (19.4, -99.1, 0.8),
    (20.7, -103.3, 0.5), (25.7, -100.3, 0.5), (14.6, -90.5, 0.5),
    (4.7, -74.1, 0.6), (10.5, -66.9, 0.5), (-12.0, -77.0, 0.6),
    (-23.5, -46.6, 1.1), (-22.9, -43.3, 0.7), (-19.9, -43.9, 0.5),
    (-34.6, -58.5, 0.8), (-33.5, -70.7, 0.6), (-30.0, -51.2, 0.5),
    (-8.0, -34.9, 0.5), (51.5, -0.1, 1.0), (53.5, -2.3, 0.8),
    (48.9, 2.4, 0.8), (52.2, 4.8, 0.9), (50.9, 4.4, 0.7), (51.3, 7.0, 1.0), (50.1, 8.7, 0.6), (52.5, 13.4, 0.6),
    (48.1, 11.6, 0.5), (53.6, 10.0, 0.5), (45.5, 9.3, 0.8), (41.9, 12.5, 0.6), (40.9, 14.4, 0.5), (40.4, -3.7, 0.6),
    (41.4, 2.1, 0.5), (38.8, -9.2, 0.5), (50.2, 19.1, 0.7), (52.2, 21.0, 0.5), (48.2, 16.4, 0.5), (47.5, 19.1, 0.5),
    (44.4, 26.1, 0.5), (38.0, 23.7, 0.5), (41.0, 29.0, 0.8), (39.9, 32.9, 0.5), (50.4, 30.5, 0.5), (55.8, 37.6, 0.9),
    (59.9, 30.3, 0.6), (59.3, 18.1, 0.5), (30.3, 31.2, 0.9), (33.6, -7.6, 0.5), (6.5, 3.4, 0.8), (5.6, -0.2, 0.5),
    (9.0, 38.7, 0.5), (-1.3, 36.8, 0.5), (-4.4, 15.3, 0.5), (-8.8, 13.2, 0.5), (-26.2, 28.1, 0.9), (-33.9, 18.5, 0.5),
    (-29.9, 31.0, 0.5), (33.3, 44.4, 0.6), (35.7, 51.4, 0.8), (24.7, 46.7, 0.6), (25.2, 55.3, 0.6), (32.1, 34.8, 0.5),
    (24.9, 67.0, 0.6), (31.5, 74.3, 0.7), (28.6, 77.2, 1.0), (19.1, 72.9, 0.8), (23.0, 72.6, 0.6), (13.0, 77.6, 0.6),
    (13.1, 80.2, 0.6), (17.4, 78.5, 0.6), (22.6, 88.4, 0.8), (23.8, 90.4, 0.9), (16.8, 96.2, 0.5), (13.8, 100.5, 0.7),
    (10.8, 106.7, 0.7), (21.0, 105.8, 0.6), (3.1, 101.6, 0.6),
    (1.3, 103.8, 0.5), (-6.3, 106.8, 0.9), (-7.3, 112.7, 0.6),
    (14.6, 121.0, 0.7), (22.8, 113.6, 1.2), (31.2, 120.9, 1.4),
    (30.6, 104.0, 0.7), (29.6, 106.5, 0.6), (30.6, 114.3, 0.7),
    (39.6, 116.8, 1.1), (36.6, 117.0, 0.7), (34.7, 113.6, 0.7),
    (41.8, 123.4, 0.6), (34.3, 108.9, 0.5), (25.0, 121.4, 0.6),
    (37.5, 127.0, 0.8), (35.2, 129.0, 0.5), (35.7, 139.7, 1.0),
    (34.8, 135.4, 0.8), (35.1, 137.0, 0.6), (33.6, 130.5, 0.5),
    (-33.8, 151.0, 0.6), (-37.8, 145.0, 0.6), (-27.5, 153.0, 0.5),
    (-31.9, 115.9, 0.5), (41.3, 69.2, 0.5), (55.0, 82.9, 0.5),
]  # fmt: skip


def decode_rings(topology: dict[str, Any]) -> list[np.ndarray]:
    """Return every ring of the land object as (n, 2) longitude and latitude in degrees."""
    scale, shift = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    arcs = [np.cumsum(np.array(arc), axis=0) * scale + shift for arc in topology["arcs"]]
    polygons = [polygon for shape in topology["objects"]["land"]["geometries"] for polygon in shape["arcs"]]
    return [
        unwrap(np.concatenate([arcs[i] if i >= 0 else arcs[~i][::-1] for i in ring]))
        for polygon in polygons
        for ring in polygon
    ]


def unwrap(ring: np.ndarray) -> np.ndarray:
    """Return a ring without jumps at the antimeridian; one around the South Pole is closed along -90 degrees."""
    ring = np.column_stack([np.unwrap(ring[:, 0], period=360.0), ring[:, 1]])
    if abs(ring[-1, 0] - ring[0, 0]) < 180:
        return ring
    return np.vstack([ring, [ring[-1, 0], -90.0], [ring[0, 0], -90.0], ring[:1]])


def rasterise(rings: list[np.ndarray]) -> np.ndarray:
    """Return (rows from south, columns from west) bool by the even-odd rule at cell centres."""
    rows, cols = round(180 / CELL_DEG), round(360 / CELL_DEG)
    west = np.arange(cols) * CELL_DEG - 180 + CELL_DEG / 2
    start = np.concatenate([ring[:-1] for ring in rings])
    end = np.concatenate([ring[1:] for ring in rings])
    land = np.zeros((rows, cols), dtype=bool)
    for row in range(rows):
        latitude = row * CELL_DEG - 90 + CELL_DEG / 2
        crosses = (start[:, 1] > latitude) != (end[:, 1] > latitude)
        a, b = start[crosses], end[crosses]
        longitude = np.sort(a[:, 0] + (latitude - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
        turns = sum(np.searchsorted(longitude, west + turn) for turn in (-360, 0, 360))  # rings run past +-180
        land[row] = turns % 2 == 1
    return land


def paint(land: np.ndarray) -> np.ndarray:
    """Return cover codes: Natural Earth's land and sea, a one-cell coast, and the regions above."""
    rows, cols = land.shape
    latitude = (np.arange(rows)[:, None] + 0.5) * CELL_DEG - 90
    longitude = (np.arange(cols)[None, :] + 0.5) * CELL_DEG - 180
    cover = np.full(land.shape, GRASSLAND, dtype=np.uint8)
    for code, boxes in BOXES.items():
        for south, north, west, east in boxes:
            cover[(latitude >= south) & (latitude < north) & (longitude >= west) & (longitude < east)] = code
    near = [np.roll(np.roll(land, dy, 0), dx, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    shore = np.any(near, axis=0) & ~np.all(near, axis=0) & (np.abs(latitude) < 66)
    cover[~land] = SEA
    cover[shore] = COAST
    for at_lat, at_lon, half in CITIES:
        wide = half / np.cos(np.radians(at_lat))
        cover[(np.abs(latitude - at_lat) <= half) & (np.abs(longitude - at_lon) <= wide) & (cover != SEA)] = URBAN
    return cover


if __name__ == "__main__":
    codes = paint(rasterise(decode_rings(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
    target = Path(__file__).resolve().parents[1] / "power_sim" / "data" / "cover_map.npz"
    np.savez_compressed(target, cover=codes, names=np.array(NAMES), cell_deg=CELL_DEG)
    area = np.cos(np.radians((np.arange(codes.shape[0]) + 0.5) * CELL_DEG - 90))[:, None] * np.ones(codes.shape)
    for code, name in enumerate(NAMES):
        print(f"{name:10s} {area[codes == code].sum() / area.sum():.3f}")
