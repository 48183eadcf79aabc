"""What flies: labels, masks and boxes of a slot's tiles, an object that several tiles show being one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from exporters.package import ModelPackage
from power_sim.scenario import load_scenario
from power_sim.simulator import Simulator
from power_sim.slot import SlotState
from runtime.answers import View, When, reader_of, window_of
from runtime.errors import EngineError
from runtime.georeference.rings import Float64Array
from runtime.infer import make_task
from runtime.onboard import LoadedNetwork
from runtime.records import Product, Tile, TileRef, UInt8Array

from .recorded import BrightestBand, SquareFinder, package_of

MakePackage = Callable[..., ModelPackage]
EDGE_PX = 48


@dataclass(frozen=True)
class Degrees:
    """A frame whose pixels are thousandths of a degree."""

    def to_wgs84(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        return 10 + cols_px * 1e-3, 50 - rows_px * 1e-3

    def error_m(self, rows_px: Float64Array, cols_px: Float64Array) -> None:
        return None


VIEW = View(96, 96, Degrees())


@pytest.fixture(scope="module")
def state() -> SlotState:
    return Simulator(load_scenario("cubesat-6u"), 1).observe()


def network_of(package: ModelPackage, engine: object) -> LoadedNetwork:
    reader = reader_of(make_task(package, engine))
    return LoadedNetwork(package=package, engine=engine, reader=reader)


def picture() -> UInt8Array:
    """A frame of four tiles; one object lies across all of them, one within the last."""
    pixels = np.full((3, 96, 96), 9, dtype=np.uint8)
    pixels[0, 40:60, 38:58], pixels[1, 40:60, 38:58] = 255, 1
    pixels[0, 70:80, 70:90], pixels[1, 70:80, 70:90] = 255, 2
    return pixels


def tiles_of(pixels: UInt8Array, frame_id: str = "field") -> list[Tile]:
    corners = [(row, col) for row in (0, 24, 48) for col in (0, 24, 48)]
    return [
        Tile(TileRef(frame_id, row, col, EDGE_PX, "truth"), pixels[:, row : row + EDGE_PX, col : col + EDGE_PX])
        for row, col in corners
    ]


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_an_object_that_several_tiles_and_batches_show_is_one_product(
    make_package: MakePackage, state: SlotState, batch: int
) -> None:
    package = package_of(make_package(EDGE_PX), "boxes", ("ship",))
    network, tiles = network_of(package, SquareFinder()), tiles_of(picture())
    findings, ended = [], []
    for first in range(0, len(tiles), batch):
        found, outcomes = network.answer(tiles[first : first + batch], lambda _: VIEW)
        findings.append(found)
        ended += outcomes
    products = network.products(findings, lambda _: VIEW, state)
    assert [outcome.outcome for outcome in ended] == ["done"] * 9
    assert {(one.kind, one.label, one.truth) for one in products} == {("geometry", "ship", None)}
    assert sorted(corners(one) for one in products) == [(10.038, 49.94, 10.058, 49.96), (10.07, 49.92, 10.09, 49.93)]
    assert all(one.value == pytest.approx(one.score * state.value_per_correct) for one in products)


def corners(product: Product) -> tuple[float, ...]:
    assert product.footprint is not None
    lons, lats = zip(*product.footprint.ring_deg, strict=True)
    return tuple(round(number, 6) for number in (min(lons), min(lats), max(lons), max(lats)))


def test_objects_of_two_frames_are_two_products(make_package: MakePackage, state: SlotState) -> None:
    package = package_of(make_package(EDGE_PX), "boxes", ("ship",))
    network = network_of(package, SquareFinder())
    tiles = [*tiles_of(picture(), "one"), *tiles_of(picture(), "two")]
    found, _ = network.answer(tiles, lambda _: VIEW)
    products = network.products([found], lambda _: VIEW, state)
    assert sorted(one.frame_id for one in products) == ["one", "one", "two", "two"]
    assert len({one.product_id for one in products}) == 4


def test_a_mask_is_told_by_its_largest_class(make_package: MakePackage, state: SlotState) -> None:
    package = package_of(make_package(EDGE_PX), "mask", ("red", "green", "blue"))
    pixels = np.zeros((3, EDGE_PX, EDGE_PX), dtype=np.uint8)
    pixels[2, :36], pixels[0, 36:] = 200, 200
    network = network_of(package, BrightestBand())
    found, _ = network.answer([Tile(TileRef("field", 0, 0, EDGE_PX, "x"), pixels)], lambda _: VIEW)
    (product,) = network.products([found], lambda _: VIEW, state)
    assert (product.kind, product.label, product.score, product.truth) == ("mask", "blue", 0.75, None)
    assert corners(product) == (10.0, 49.952, 10.048, 50.0)


def test_an_answer_of_another_shape_fails_its_tiles_and_nothing_else(
    make_package: MakePackage, state: SlotState
) -> None:
    package = package_of(make_package(EDGE_PX), "boxes", ("ship",))
    network, tiles = network_of(package, BrightestBand()), tiles_of(picture())
    found, outcomes = network.answer(tiles, lambda _: VIEW)
    assert {outcome.outcome for outcome in outcomes} == {"failed"}
    assert network.products([found], lambda _: VIEW, state) == []


def test_a_task_that_cannot_fly_is_refused(make_package: MakePackage) -> None:
    @dataclass(frozen=True)
    class Foreign:
        package: ModelPackage

    with pytest.raises(EngineError, match="cannot fly"):
        reader_of(Foreign(make_package()))


def test_the_window_of_a_box_shows_it_and_stays_in_the_frame() -> None:
    window = window_of("f", np.array([80.0, 2.0, 96.0, 10.0]), VIEW)
    assert (window.row_px, window.col_px, window.edge_px) == (0, 72, 24)
    assert window_of("f", np.array([0.0, 0.0, 96.0, 90.0]), VIEW).edge_px == 96


def test_products_carry_the_slot_and_its_time(make_package: MakePackage) -> None:
    package = package_of(make_package(EDGE_PX), "boxes", ("ship",))
    network = network_of(package, SquareFinder())
    found, _ = network.answer(tiles_of(picture()), lambda _: VIEW)
    products = network.reader.products([found], lambda _: VIEW, When(7, 5.0))
    assert {(one.slot, one.captured_unix_s) for one in products} == {(7, 5.0)}


def test_values_that_are_missing_from_physical_tiles_are_filled(make_package: MakePackage) -> None:
    package = package_of(make_package(EDGE_PX), "mask", ("red", "green", "blue"))
    pixels = np.zeros((3, EDGE_PX, EDGE_PX), dtype=np.float32)
    pixels[1] = 0.25
    pixels[0, :4] = np.nan
    network = network_of(package, BrightestBand())
    _, outcomes = network.answer([Tile(TileRef("field", 0, 0, EDGE_PX), pixels)], lambda _: VIEW)
    assert [outcome.outcome for outcome in outcomes] == ["done"]
