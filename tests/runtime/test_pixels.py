"""Answers that are pixels: faded without a seam, in the scene's own values, and regions that stand out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.frame import BoolArray
from runtime.pipeline.blend import Mosaic, fade
from runtime.records import FloatArray
from runtime.tasks.regions import Region, StreamingRegions
from runtime.tiles import tile_grid


def put_together(
    scene: FloatArray, edge_px: int, overlap_px: int, offset: float = 0.0, missing: tuple[int, ...] = ()
) -> tuple[FloatArray, BoolArray]:
    """``scene`` cut and put together again; every second tile is ``offset`` brighter, those ``missing`` never come."""
    channels, height, width = scene.shape
    out, seen = np.full(scene.shape, np.nan, dtype=np.float32), np.zeros((height, width), dtype=bool)

    def put(row_px: int, values: FloatArray, present: BoolArray) -> None:
        assert not seen[row_px : row_px + len(present)].any()
        seen[row_px : row_px + len(present)] = present
        out[:, row_px : row_px + len(present)] = np.where(present, values, np.nan)

    mosaic = Mosaic(
        width_px=width, height_px=height, edge_px=edge_px, channels=channels, overlap_px=overlap_px, put=put
    )
    padded = np.pad(scene, ((0, 0), (0, max(edge_px - height, 0)), (0, max(edge_px - width, 0))), mode="edge")
    for number, window in enumerate(tile_grid(width, height, edge_px, overlap_px)):
        row, col = window.ref.row_px, window.ref.col_px
        tile = padded[:, row : row + edge_px, col : col + edge_px] + np.float32(offset * (number % 2))
        if number not in missing:
            mosaic.add(window, tile, None)
    mosaic.finish()
    return out, seen


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(4, 24), st.integers(0, 23))
def test_where_tiles_agree_the_scene_comes_out_as_it_went_in(height: int, width: int, edge: int, overlap: int) -> None:
    scene = np.random.default_rng(0).uniform(0, 255, (2, height, width)).astype(np.float32)
    out, seen = put_together(scene, edge, min(overlap, edge - 1))
    assert seen.all()
    assert np.abs(out - scene).max() < 1e-3


def test_tiles_that_differ_fade_into_each_other_without_a_step() -> None:
    flat = np.full((1, 32, 160), 100.0, dtype=np.float32)
    faded, _ = put_together(flat, 32, 16, offset=20.0)
    hard, _ = put_together(flat, 32, 0, offset=20.0)
    assert np.abs(np.diff(faded[0, 5])).max() < 20 * np.pi / 2 / 16 + 0.1  # the steepest part of a raised cosine
    assert np.abs(np.diff(hard[0, 5])).max() == pytest.approx(20.0)
    assert (faded.min(), faded.max()) == pytest.approx((100.0, 120.0), abs=0.1)


def test_the_fade_is_never_zero_and_its_two_sides_add_up() -> None:
    weights = fade(64, 16)
    assert weights.min() > 0
    assert weights[:16] + weights[-16:] == pytest.approx(1.0, abs=1e-6)


def test_a_tile_that_failed_leaves_only_what_no_neighbour_shows() -> None:
    scene = np.random.default_rng(0).uniform(0, 255, (1, 16, 40)).astype(np.float32)
    out, seen = put_together(scene, 16, 4, missing=(1,))
    assert seen[:, :16].all()
    assert not seen[:, 16:24].any()
    assert seen[:, 24:].all()
    assert np.abs(out[0, :, :16] - scene[0, :, :16]).max() < 1e-3


def by_flooding(values: FloatArray, threshold: float) -> list[Region]:
    left, found = {(int(r), int(c)) for r, c in np.argwhere(values >= threshold)}, []
    while left:
        stack, part = [left.pop()], []
        while stack:
            row, col = stack.pop()
            part.append((row, col))
            near = {(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            stack += near
        rows, cols = zip(*part, strict=True)
        peak = max(float(values[place]) for place in part)
        found.append(Region((min(cols), min(rows), max(cols) + 1, max(rows) + 1), len(part), peak))
    return found


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.3, 0.95), st.integers(0, 999), st.integers(1, 9))
def test_regions_are_those_that_a_flood_finds(height: int, width: int, limit: float, seed: int, strip: int) -> None:
    values = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    values[height // 2, : width // 2] = np.nan
    regions, found = StreamingRegions(limit), []
    for row in range(0, height, strip):
        part = values[row : row + strip]
        found += regions.take(row, part, ~np.isnan(part))
    found += regions.finish()
    assert sorted(found, key=repr) == sorted(by_flooding(values, limit), key=repr)
