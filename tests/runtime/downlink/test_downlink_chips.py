"""Pictures go down after the answers, by what they are worth, and end up beside the map."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from runtime.cfdp import BOARD_ID, CfdpEntity, Condition, FileReport, TransactionId, TransactionLog
from runtime.downlink import ChipOutbox, DownlinkSession
from runtime.downlink.chips import png
from runtime.downlink.pictures import PictureLadder, shrunk
from runtime.downlink.rules import Rules
from runtime.errors import StoreError
from runtime.faults import arm, disarm
from runtime.ground.direct import DirectLink
from runtime.ground.station import finish, opened
from runtime.records import Product, SlotRecord, TileRef
from runtime.store import ProductStore

MakeProduct = Callable[..., Product]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TransactionLog]:
    with closing(TransactionLog(tmp_path / "cfdp.sqlite")) as opened_log:
        yield opened_log


@pytest.fixture
def files(tmp_path: Path, log: TransactionLog) -> Iterator[CfdpEntity]:
    with closing(CfdpEntity(BOARD_ID, tmp_path / "uplinked", log)) as entity:
        yield entity


def picture(seed: int, edge_px: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, edge_px, edge_px), dtype=np.uint8)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_png_is_read_by_others(tmp_path: Path, bands: int) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = picture(1, 40)[:bands, :30]
    path = tmp_path / "chip.png"
    path.write_bytes(png(pixels))
    with rasterio.Env(), pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(path) as image:
        np.testing.assert_array_equal(image.read(), pixels)


def test_a_picture_of_five_bands_is_refused() -> None:
    with pytest.raises(StoreError, match="1 to 4"):
        png(np.zeros((5, 4, 4), np.uint8))


def test_pictures_go_down_with_what_is_left_and_stand_in_the_map(
    tmp_path: Path,
    store: ProductStore,
    files: CfdpEntity,
    make_product: MakeProduct,
    make_record: Callable[..., SlotRecord],
) -> None:
    products = [make_product(number) for number in range(20)]
    store.commit_slot(make_record(0), [], products)
    outbox = ChipOutbox(tmp_path / "outbox", files)
    for number, value in ((3, 0.1), (4, 0.5)):
        outbox.offer(products[number], picture(number), value)
        outbox.offer(products[number], picture(number), value)
    with opened(tmp_path / "ground") as (archive, receiver):
        session = DownlinkSession(store, DirectLink(receiver), files=files, clock=lambda: 0.0)
        first = session.run_pass(0, 16_000)
        outbox.settle(first.files)
        assert (first.delivered_product, first.delivered_file) == (20, 1)
        second = session.run_pass(1, 50_000)
        outbox.settle(second.files)
        receiver.commit()
        finish(tmp_path / "ground", archive, receiver)
    assert outbox.waiting_byte == 0
    features = json.loads((tmp_path / "ground" / "products.geojson").read_text())["features"]
    shown = {one["id"]: one["properties"]["picture"] for one in features if "picture" in one["properties"]}
    assert set(shown) == {products[3].product_id, products[4].product_id}
    for number in (3, 4):
        kept = tmp_path / "ground" / shown[products[number].product_id]
        assert kept.read_bytes() == png(picture(number))


def test_a_full_outbox_gives_up_what_is_worth_least(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files, limit_byte=40_000)
    for number, value in ((1, 0.5), (2, 0.1), (3, 0.9), (4, 0.3)):
        outbox.offer(make_product(number), picture(number), value)
    assert outbox.waiting_byte <= 40_000
    assert outbox.shed == 1
    assert sorted(round(row.rank * row.size_byte, 3) for row in files.outgoing()) == [0.3, 0.5, 0.9]


def test_r22_a_picture_that_a_crash_left_without_a_transfer_is_sent_after_all(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    (folder / "00ab-chip.png").write_bytes(png(picture(1)))
    (folder / "00cd-chip.part").write_bytes(b"half")
    ChipOutbox(folder, files)
    assert [row.dest_name for row in files.outgoing()] == ["pictures/00ab-chip.png"]
    assert [path.name for path in folder.iterdir()] == ["00ab-chip.png"]
    ChipOutbox(folder, files)
    assert len(files.outgoing()) == 1


def test_of_a_slot_only_the_best_products_get_pictures_and_each_rung_costs_more(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files)
    asked: list[str] = []

    def look(ref: TileRef) -> np.ndarray | None:
        asked.append(ref.frame_id)
        return None if len(asked) == 2 else picture(len(asked))

    products = [make_product(number, value=float(number % 5)) for number in range(50)]
    PictureLadder(outbox, Rules(pictures_per_slot=3)).offer(products, look)
    assert len(asked) == 3
    sizes = {row.dest_name.rpartition("-")[2]: row.size_byte for row in files.outgoing()}
    assert len(files.outgoing()) == 4
    assert sizes["chip.png"] < sizes["tile.png"] / 3
    ranks = [(row.rank, row.dest_name[-8:]) for row in files.outgoing()]
    assert min(rank for rank, name in ranks if name == "chip.png") > max(
        rank for rank, name in ranks if name == "tile.png"
    )


def test_what_the_rules_keep_back_gets_no_picture(tmp_path: Path, files: CfdpEntity, make_product: MakeProduct) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files)
    PictureLadder(outbox, Rules(classes=("River",))).offer([make_product(1)], lambda ref: picture(1))
    assert files.outgoing() == ()


@pytest.mark.parametrize("edge_px", [1, 20, 32, 33, 100])
def test_a_chip_is_never_larger_than_asked(edge_px: int) -> None:
    chip = shrunk(picture(3, edge_px), 32)
    assert max(chip.shape[1:]) <= 32
    assert abs(float(chip.mean()) - float(picture(3, edge_px).mean())) < 20


def test_an_outbox_holds_no_more_files_than_it_may(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files, limit_file=5)
    for number in range(12):
        outbox.offer(make_product(number), picture(number, 8), value=float(number))
    assert len(files.outgoing()) == len(list((tmp_path / "outbox").iterdir())) == 5
    assert outbox.shed == 7


def test_a_disk_that_refuses_costs_pictures_and_says_so(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files)
    ladder = PictureLadder(outbox, Rules())
    (tmp_path / "outbox").rmdir()
    ladder.offer([make_product(1)], lambda ref: picture(1))
    assert "Cannot write" in ladder.fault
    assert files.outgoing() == ()
    (tmp_path / "outbox").mkdir()
    ladder.offer([make_product(1)], lambda ref: picture(1))
    assert ladder.fault == ""
    assert outbox.waiting_file == len(files.outgoing()) == 2


def test_a_picture_that_cannot_be_removed_goes_the_next_time(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files)
    outbox.offer(make_product(1), picture(1, 8), value=1.0)
    row = files.outgoing()[0]
    files.drop(row.sequence)
    report = FileReport(TransactionId(BOARD_ID, row.sequence), row.dest_name, False, Condition.NONE)
    arm("pictures.settle.before_unlink", "eio")
    try:
        with pytest.raises(StoreError, match="Cannot remove"):
            outbox.settle([report])
    finally:
        disarm()
    assert outbox.waiting_file == 1
    outbox.settle([])
    assert (outbox.waiting_file, list((tmp_path / "outbox").iterdir())) == (0, [])


@pytest.mark.parametrize("stuck", [False, True], ids=["can go", "cannot go at once"])
def test_a_picture_that_failed_after_it_had_its_name_does_not_stay_behind(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct, stuck: bool
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files)
    arm("pictures.keep.after_rename", "eio")
    if stuck:
        arm("pictures.settle.before_unlink", "eio")
    try:
        with pytest.raises(StoreError, match="Cannot write"):
            outbox.offer(make_product(1), picture(1, 8), value=1.0)
    finally:
        disarm()
    assert len(list((tmp_path / "outbox").iterdir())) == stuck
    outbox.settle([])
    assert (outbox.waiting_file, files.outgoing(), list((tmp_path / "outbox").iterdir())) == (0, (), [])
    outbox.offer(make_product(1), picture(1, 8), value=1.0)
    outbox.settle([])
    assert outbox.waiting_file == len(files.outgoing()) == len(list((tmp_path / "outbox").iterdir())) == 1


def test_a_picture_without_room_in_the_log_is_not_kept_and_can_be_offered_again(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files)
    arm("cfdp.log.before_fsync", "enospc")
    try:
        with pytest.raises(StoreError, match="Free some space"):
            outbox.offer(make_product(1), picture(1, 8), value=1.0)
    finally:
        disarm()
    assert (outbox.waiting_file, files.outgoing(), list((tmp_path / "outbox").iterdir())) == (0, (), [])
    outbox.offer(make_product(1), picture(1, 8), value=1.0)
    assert outbox.waiting_file == len(files.outgoing()) == 1


def test_r22_a_picture_whose_transfer_ended_before_a_crash_is_not_sent_again(
    tmp_path: Path, files: CfdpEntity, make_product: MakeProduct
) -> None:
    outbox = ChipOutbox(tmp_path / "outbox", files)
    for number in (1, 2):
        outbox.offer(make_product(number), picture(number, 8), value=1.0)
    ended, waits = files.outgoing()
    files.drop(ended.sequence)
    after = ChipOutbox(tmp_path / "outbox", files)
    assert [row.sequence for row in files.outgoing()] == [waits.sequence]
    assert after.waiting_file == len(list((tmp_path / "outbox").iterdir())) == 1
