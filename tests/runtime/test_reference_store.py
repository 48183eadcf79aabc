"""References stay within their bound, survive a restart, and lie under a new tile by georeference and date."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import FrameError, StoreError
from runtime.georeference import MapGeoreference
from runtime.reference_store import GroundCell, GroundTile, ReferenceStore, georeference_of, stacked

RGB = ("red", "green", "blue")
MAP = MapGeoreference("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0))


def tile(
    col_px: int = 0, *, taken: float = 100.0, value: float = 1.0, fill: int | None = None, edge: int = 32
) -> GroundTile:
    """A tile of a scene in UTM; noise, which does not compress, unless it is filled."""
    rng = np.random.default_rng(col_px)
    pixels = rng.integers(0, 256, (3, edge, edge)).astype(np.uint8)
    if fill is not None:
        pixels[:] = fill
    return GroundTile(pixels, RGB, georeference_of(MAP, 0, col_px), taken, value)


def store_in(folder: Path, tiles: float = 100.0) -> ReferenceStore:
    return ReferenceStore(folder, most_byte=int(tiles * 4000), cell_m=300)


def cell_of(one: GroundTile) -> GroundCell:
    return GroundCell.at(*one.centre_deg(), 300)


def test_a_tile_comes_back_as_it_was_also_after_a_restart(tmp_path: Path) -> None:
    one = tile(64)
    assert store_in(tmp_path).put(one)
    kept = store_in(tmp_path).get(cell_of(one))
    assert kept is not None
    np.testing.assert_array_equal(kept.pixels, one.pixels)
    assert (kept.bands, kept.georeference, kept.captured_unix_s) == (RGB, one.georeference, 100.0)


def test_a_newer_tile_takes_its_cells_place_and_an_older_one_is_stale(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.put(tile(taken=100.0))
    assert store.put(tile(taken=200.0, fill=7))
    assert not store.put(tile(taken=150.0))
    assert (len(store), store.counts.replaced, store.counts.stale) == (1, 1, 1)


def test_the_bound_holds_and_the_least_valuable_then_the_oldest_goes_first(tmp_path: Path) -> None:
    store = store_in(tmp_path, tiles=3)
    offered = [tile(64 * n, taken=100.0 + n, value=value) for n, value in enumerate((5.0, 1.0, 1.0))]
    assert all(store.put(one) for one in offered)
    assert store.put(tile(64 * 9, value=3.0))
    assert store.size_byte <= store.most_byte
    assert store.counts.evicted == 1
    assert store.get(cell_of(offered[1])) is None
    assert store.get(cell_of(offered[0])) is not None
    assert not store.put(tile(64 * 10, value=0.5))
    assert store.counts.refused == 1


def test_a_tile_larger_than_the_store_is_refused(tmp_path: Path) -> None:
    store = store_in(tmp_path, tiles=0.5)
    assert not store.put(tile())
    assert (len(store), store.counts.refused) == (0, 1)


def test_a_smaller_bound_at_the_next_start_is_kept_too(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for n in range(4):
        store.put(tile(64 * n, taken=100.0 + n))
    again = store_in(tmp_path, tiles=2)
    assert again.size_byte <= again.most_byte
    assert len(list(tmp_path.glob("*.npz"))) == len(again) == 2


def test_damaged_files_and_leftovers_are_removed_and_counted(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.put(tile(0))
    store.put(tile(64))
    first, second = sorted(tmp_path.glob("*.npz"))
    first.write_bytes(first.read_bytes()[:-300])
    (tmp_path / f".{second.name}.part").write_bytes(b"half")
    again = store_in(tmp_path)
    assert (len(again), again.counts.damaged) == (1, 1)
    assert [path.name for path in tmp_path.iterdir()] == [second.name]
    second.write_bytes(b"nothing")
    assert again.get(cell_of(tile(64))) is None or again.get(cell_of(tile(0))) is None
    assert again.counts.damaged == 2


def test_references_are_laid_on_the_new_tiles_grid_by_georeference(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    left, right = tile(0), tile(32)
    store.put(left)
    store.put(right)
    new = replace(tile(16, taken=300.0), georeference=georeference_of(MAP, 0, 16))
    laid = store.lay_under(new)
    assert laid is not None
    assert laid.valid is not None
    assert laid.valid.all()
    np.testing.assert_array_equal(laid.pixels[:, :, :16], left.pixels[:, :, 16:])
    np.testing.assert_array_equal(laid.pixels[:, :, 16:], right.pixels[:, :, :16])


def test_only_older_references_count(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.put(tile(taken=500.0))
    assert store.lay_under(tile(taken=400.0)) is None
    assert store.lay_under(tile(taken=500.0)) is None
    assert store.lay_under(tile(taken=501.0)) is not None
    assert store.lay_under(tile(50_000, taken=501.0)) is None


def test_bands_stack_in_the_packages_order_and_missing_ones_are_named(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.put(tile(fill=9))
    new = tile(taken=300.0)
    laid = store.lay_under(new)
    assert laid is not None
    pair = stacked(new, laid, ("reference_red", "red", "blue"))
    assert pair.shape == (3, 32, 32)
    assert (pair[0] == 9).all()
    np.testing.assert_array_equal(pair[2], new.pixels[2])
    with pytest.raises(FrameError, match="not nir"):
        stacked(new, laid, ("nir",))
    with pytest.raises(FrameError, match="no band nir"):
        store.lay_under(replace(new, bands=("red", "green", "nir")))


def test_a_store_of_nothing_and_a_folder_that_is_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds nothing"):
        ReferenceStore(tmp_path, most_byte=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot hold"):
        ReferenceStore(tmp_path / "file", most_byte=10)


def test_control_points_are_refused() -> None:
    with pytest.raises(FrameError, match="map transform"):
        georeference_of(MapGeoreference("EPSG:4326", None), 0, 0)


@given(st.floats(-180, 180), st.floats(-89, 89), st.sampled_from([300, 1000, 5000]))
def test_a_cell_is_its_own_neighbour_anywhere(lon_deg: float, lat_deg: float, cell_m: int) -> None:
    cell = GroundCell.at(lon_deg, lat_deg, cell_m)
    assert cell in set(cell.around(1))
    assert GroundCell.at(lon_deg + 360.0, lat_deg, cell_m).row == cell.row


def test_neighbours_reach_across_the_antimeridian() -> None:
    west, east = GroundCell.at(179.9999, 10.0, 1000), GroundCell.at(-179.9999, 10.0, 1000)
    assert east in set(west.around(1))
    assert west in set(east.around(1))
