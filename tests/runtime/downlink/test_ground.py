"""The ground station: exactly once, honest about gaps, and hard to kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from spacepackets.ccsds.spacepacket import SequenceFlags

from runtime.cfdp import BOARD_ID, GROUND_ID, CfdpEntity, TransactionLog
from runtime.downlink import DownlinkSession, Pacing
from runtime.downlink.links import FolderLink, Link, UdpLink, board_link, memory_pair, station_link
from runtime.errors import AddressError, LinkError, StoreError
from runtime.faults import arm, disarm
from runtime.ground import Receiver, run_ground
from runtime.ground.archive import Archive
from runtime.ground.direct import DirectLink
from runtime.ground.geojson import feature, write_geojson
from runtime.ground.process import GroundProcess
from runtime.ground.reassembly import MAX_SEGMENTS, Reassembler
from runtime.ground.sequence import SequenceTracker
from runtime.ground.stac import write_stac
from runtime.ground.station import Desk, serve, shutdown_packet
from runtime.records import Footprint, Product, SlotRecord, TileOutcome
from runtime.store import ProductStore
from runtime.wire.messages import decode_acknowledgement
from runtime.wire.packets import Apid, build, build_all, parse
from runtime.wire.payload import encode_batch

MakeProduct = Callable[..., Product]
MakeSlot = Callable[[int, int], tuple[SlotRecord, list[TileOutcome], list[Product]]]


def batch_packet(
    sequence: int, products: list[Product], *, transfer: int = 1, index: int = 0, prompt: bool = False
) -> bytes:
    return build(Apid.PRODUCTS, sequence, encode_batch(transfer, index, products, prompt=prompt))


def test_i2_a_product_that_comes_twice_is_kept_once(
    station: DirectLink, archive: Archive, make_product: MakeProduct
) -> None:
    for sequence, transfer in enumerate((1, 1, 2)):
        station.send(batch_packet(sequence, [make_product(1)], transfer=transfer))
    station.close()
    assert archive.count() == 1
    assert station.receiver.counts["duplicates"] == 2


def test_an_answer_says_what_is_held(station: DirectLink, make_product: MakeProduct) -> None:
    for index in (0, 1, 3):
        station.send(batch_packet(index, [make_product(index)], index=index))
    assert station.receive() is None
    station.send(build(Apid.PROMPT, 0, encode_batch(1, 77, (), prompt=True)))
    raw = station.receive()
    assert raw is not None
    answer = decode_acknowledgement(parse(raw).data)
    assert (answer.transfer, answer.prompt, answer.ranges) == (1, 77, ((0, 2), (3, 1)))


def test_i1_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path, make_product: MakeProduct) -> None:
    path = tmp_path / "ground.sqlite"
    archive = Archive(path)
    station = DirectLink(Receiver(archive))
    station.send(batch_packet(0, [make_product(1)], prompt=True))
    station.send(batch_packet(1, [make_product(2)], index=1))
    assert station.receive() is not None
    archive.close()  # without a commit, as a kill would leave it
    with closing(Archive(path)) as reopened:
        assert [product.product_id for product in reopened.products()] == [make_product(1).product_id]
        assert Receiver(reopened).counts["packets"] == 1


def test_an_archive_that_cannot_be_written_acknowledges_nothing(station: DirectLink, make_product: MakeProduct) -> None:
    arm("ground.commit.before_fsync", "enospc")
    try:
        with pytest.raises(StoreError, match="Free some space"):
            station.send(batch_packet(0, [make_product(1)], prompt=True))
    finally:
        disarm()
    assert station.receive() is None
    station.send(build(Apid.PROMPT, 0, encode_batch(1, 0, (), prompt=True)))
    raw = station.receive()
    assert raw is not None
    assert decode_acknowledgement(parse(raw).data).ranges == ()


def test_r03_a_station_outlives_a_full_disk_and_gets_everything_again(
    store: ProductStore, archive: Archive, make_slot: MakeSlot, caplog: pytest.LogCaptureFixture
) -> None:
    store.commit_slot(*make_slot(0, 60))
    receiver = Receiver(archive)
    board, ground = memory_pair()

    class Pumped:
        """The station gets its turn whenever the spacecraft listens."""

        def send(self, packet: bytes) -> None:
            board.send(packet)

        def receive(self, timeout_s: float = 0.0) -> bytes | None:
            turns = iter([False] * 8)
            serve(ground, receiver, stop=lambda: next(turns, True))
            return board.receive()

        def close(self) -> None: ...

    session = DownlinkSession(store, Pumped(), clock=lambda: 0.0)
    arm("ground.commit.before_fsync", "enospc")
    try:
        session.run_pass(0, 50_000)
    finally:
        disarm()
    for slot in (1, 2):
        session.run_pass(slot, 50_000)
    assert "Free some space" in caplog.text
    assert store.backlog()[0] == 0
    assert archive.count() == receiver.counts["products"] == 60


def test_gaps_are_reported_and_filled_by_late_packets(station: DirectLink, make_product: MakeProduct) -> None:
    for sequence in (0, 1, 4, 5, 9):
        station.send(batch_packet(sequence, [make_product(sequence)], index=sequence))
    assert station.receiver.gaps() == ((2, 2), (6, 3))
    station.send(batch_packet(3, [make_product(3)], index=3))
    station.send(batch_packet(5, [make_product(5)], index=5))
    assert station.receiver.gaps() == ((2, 1), (6, 3))
    assert (station.receiver.late_packet, station.receiver.repeated_packet) == (1, 1)


def test_gaps_are_remembered_over_a_restart(tmp_path: Path, make_product: MakeProduct) -> None:
    path = tmp_path / "ground.sqlite"
    with closing(Archive(path)) as archive:
        station = DirectLink(Receiver(archive))
        station.send(batch_packet(0, [make_product(0)]))
        station.send(batch_packet(3, [make_product(3)], index=3))
        station.close()
    with closing(Archive(path)) as archive:
        receiver = Receiver(archive)
        assert receiver.gaps() == ((1, 2),)
        receiver.insert(batch_packet(5, [make_product(5)], index=5))
        assert receiver.gaps() == ((1, 2), (4, 1))


def test_the_packet_count_wraps_without_a_gap() -> None:
    tracker = SequenceTracker()
    numbers = [tracker.observe(number % 16384) for number in range(16000, 40000)]
    assert numbers == list(range(16000, 40000))
    assert tracker.gaps() == ()


def test_segments_join_in_any_order_and_are_bounded() -> None:
    payload = bytes(range(256)) * 10
    packets = [parse(raw) for raw in build_all(Apid.PRODUCTS, 0, payload, time_unix_s=0.0, packet_byte=512)]
    pool = Reassembler()
    joined = [pool.insert(packet.sequence, packet.flags, packet.data) for packet in reversed(packets)]
    assert joined[:-1] == [None] * (len(packets) - 1)
    assert joined[-1] == payload
    flood = Reassembler()
    for number in range(0, 4 * MAX_SEGMENTS, 2):
        assert flood.insert(number, SequenceFlags.CONTINUATION_SEGMENT, b"x") is None
    assert flood.dropped == MAX_SEGMENTS


def test_r23_refused_packets_are_counted_by_reason(station: DirectLink, make_product: MakeProduct) -> None:
    good = batch_packet(0, [make_product(1)])
    for bad in (
        b"",
        good[:-1],
        good[:20] + b"\xff" + good[21:],
        build(Apid.ACKNOWLEDGE, 0, b"x"),
        build(Apid.PRODUCTS, 1, b"junk"),
    ):
        station.send(bad)
    assert dict(station.receiver.rejected) == {"size": 1, "length": 1, "crc": 1, "apid": 1, "truncated": 1}
    station.send(good)
    assert station.receiver.counts["products"] == 1


def test_a_feature_carries_place_time_and_provenance(make_product: MakeProduct) -> None:
    made = feature(make_product(4))
    assert made["geometry"]["type"] == "Polygon"
    assert made["geometry"]["coordinates"][0][0] == made["geometry"]["coordinates"][0][-1]
    assert made["properties"]["captured_utc"] == "2025-06-15T15:06:40.500Z"
    assert made["properties"]["package_sha256"] == "ab" * 32
    assert feature(replace(make_product(4), footprint=None))["geometry"] is None


def test_a_footprint_over_the_antimeridian_is_cut_in_two(make_product: MakeProduct) -> None:
    ring = ((179.5, 0.0), (-179.5, 0.0), (-179.5, 1.0), (179.5, 1.0), (179.5, 0.0))
    geometry = feature(replace(make_product(1), footprint=Footprint(ring)))["geometry"]
    assert geometry["type"] == "MultiPolygon"
    west, east = (polygon[0] for polygon in geometry["coordinates"])
    assert (min(lon for lon, _ in west), max(lon for lon, _ in west)) == (179.5, 180.0)
    assert (min(lon for lon, _ in east), max(lon for lon, _ in east)) == (-180.0, -179.5)
    assert all(half[0] == half[-1] for half in (west, east))


def test_the_map_is_replaced_whole(tmp_path: Path, make_product: MakeProduct) -> None:
    path = tmp_path / "products.geojson"
    assert write_geojson(path, [make_product(1), make_product(2)]) == 2
    arm("ground.show.before_rename", "eio")
    try:
        with pytest.raises(StoreError, match="Cannot write"):
            write_geojson(path, [make_product(3)])
    finally:
        disarm()

    def torn() -> Iterator[Product]:
        yield make_product(4)
        raise StoreError("the archive cannot be read")

    with pytest.raises(StoreError, match="the archive cannot be read"):
        write_geojson(path, torn())
    assert len(json.loads(path.read_text())["features"]) == 2
    assert [one.name for one in tmp_path.iterdir()] == [path.name], "nothing half stays behind"
    assert write_geojson(path, []) == 0
    assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}


def test_a_recording_gives_the_same_products_as_the_link(tmp_path: Path, make_product: MakeProduct) -> None:
    recording = tmp_path / "pass.packets"
    packets = [batch_packet(number, [make_product(number)], index=number) for number in range(10)]
    recording.write_bytes(b"".join(packets[:5]) + b"noise" + b"".join(packets[4:]))
    report = run_ground(out=tmp_path / "out", recorded=recording)
    assert (report["products"], report["duplicates"], report["missing_packet"]) == (10, 1, 0)
    assert json.loads((tmp_path / "out" / "ground.json").read_text())["products"] == 10
    with pytest.raises(LinkError, match="Give a file"):
        run_ground(out=tmp_path / "out", recorded=tmp_path / "nothing")


def test_a_shutdown_packet_ends_a_station_that_allows_it(tmp_path: Path, make_product: MakeProduct) -> None:
    def speak(line: str) -> None:
        board = UdpLink.connect(json.loads(line)["listening"])
        board.send(batch_packet(0, [make_product(1)]))
        board.send(shutdown_packet())
        board.close()

    record = tmp_path / "all.packets"
    report = run_ground(out=tmp_path, announce=speak, stop=lambda: False, allow_shutdown=True, record=record)
    assert report["products"] == 1
    assert run_ground(out=tmp_path / "again", recorded=record)["products"] == 1


def test_a_file_goes_down_beside_the_products_and_on_over_passes(tmp_path: Path, make_slot: MakeSlot) -> None:
    chip = tmp_path / "chip.png"
    chip.write_bytes(bytes(range(256)) * 800)
    with ExitStack() as stack:
        ground = stack.enter_context(GroundProcess.start(tmp_path / "ground"))
        store = stack.enter_context(ProductStore(tmp_path / "store.sqlite"))
        log = stack.enter_context(closing(TransactionLog(tmp_path / "cfdp.sqlite")))
        files = stack.enter_context(closing(CfdpEntity(BOARD_ID, tmp_path / "uplinked", log)))
        link = stack.enter_context(closing(ground.connect()))
        store.commit_slot(*make_slot(0, 50))
        files.send(chip, "chips/one.png", GROUND_ID)
        session = DownlinkSession(store, link, files=files)
        first, second = session.run_pass(0, 100_000), session.run_pass(1, 150_000)
        assert (first.delivered_product, first.delivered_file, second.delivered_file) == (50, 0, 1)
        assert 90_000 < first.sent_byte <= 100_000
        assert "1 complete" in second.text
        assert ground.stop()["files"] == 1
    assert (tmp_path / "ground" / "files" / "chips" / "one.png").read_bytes() == chip.read_bytes()


def test_i1_a_new_store_on_board_is_never_taken_for_the_old_one(
    tmp_path: Path, station: DirectLink, archive: Archive, make_slot: MakeSlot
) -> None:
    for number in range(2):
        with ProductStore(tmp_path / f"store-{number}.sqlite") as store:
            record, outcomes, products = make_slot(number, 60)
            store.commit_slot(record, outcomes, products)
            report = DownlinkSession(store, station, pacing=Pacing(packet_byte=512), clock=lambda: 0.0).run_pass(
                0, 50_000
            )
            assert report.delivered_product == 60
    assert archive.count() == 120
    assert station.receiver.missing_packet == 0


def test_the_catalog_has_an_item_for_each_frame_and_no_name_leaves_it(
    tmp_path: Path, make_product: MakeProduct
) -> None:
    products = [make_product(1), make_product(2), replace(make_product(3), frame_id="../../../etc/passwd")]
    products.append(replace(make_product(4), frame_id="blind", footprint=None))
    assert write_stac(tmp_path / "stac", products) == 3
    collection = json.loads((tmp_path / "stac" / "collection.json").read_text())
    items = [link["href"] for link in collection["links"] if link["rel"] == "item"]
    assert all((tmp_path / "stac" / href).is_file() for href in items)
    assert len(items) == 3
    item = json.loads((tmp_path / "stac" / "items" / "mosaic-1.json").read_text())
    assert item["bbox"] == pytest.approx([10.001, 50.25, 10.008, 50.256])
    assert item["properties"]["subsolar:labels"] == {"Forest": 2}
    assert item["properties"]["start_datetime"] == "2025-06-15T15:06:40.125Z"
    assert "bbox" not in json.loads((tmp_path / "stac" / "items" / "blind.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stac"]


def test_people_see_a_line_and_a_map_while_packets_come_in(
    station: DirectLink, archive: Archive, tmp_path: Path, make_product: MakeProduct
) -> None:
    lines: list[str] = []
    desk = Desk(tmp_path, archive, station.receiver, lines.append)
    desk.look(idle=True)
    assert (lines, (tmp_path / "products.geojson").exists()) == ([], False)
    station.send(batch_packet(0, [make_product(1)]))
    station.send(batch_packet(2, [make_product(2)], index=1))
    desk.look(idle=False)
    assert lines == ["2 packets, 2 products, 1 packet missing"]
    desk.look(idle=True)
    assert len(json.loads((tmp_path / "products.geojson").read_text())["features"]) == 2


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_station_takes_any_kind_of_link(tmp_path: Path, make_product: MakeProduct, kind: str) -> None:
    links: list[Link] = []

    def speak(line: str) -> None:
        board = board_link(json.loads(line)["listening"])
        board.send(batch_packet(0, [make_product(1)]))
        board.send(shutdown_packet())
        links.append(board)

    listen = f"{kind}:127.0.0.1:0"
    report = run_ground(listen=listen, out=tmp_path, announce=speak, stop=lambda: False, allow_shutdown=True)
    assert report["products"] == 1
    for link in links:
        link.close()


def test_a_folder_between_two_buses_is_a_link_too(store: ProductStore, tmp_path: Path, make_slot: MakeSlot) -> None:
    store.commit_slot(*make_slot(0, 50))
    address = f"folder:{tmp_path / 'bus'}"
    session = DownlinkSession(store, board_link(address), pacing=Pacing(answer_s=0.0))
    assert session.run_pass(0, 50_000).delivered_product == 0
    passed = iter([False] * 4)
    assert run_ground(listen=address, out=tmp_path / "out", stop=lambda: next(passed, True))["products"] == 50
    report = session.run_pass(1, 50_000)
    assert (report.delivered_product, report.sent_product) == (50, 0)


def test_an_outbox_is_read_where_it_lies_and_is_no_folder_to_listen_at(
    tmp_path: Path, make_product: MakeProduct
) -> None:
    outbox = tmp_path / "outbox"
    link = FolderLink(outbox, tmp_path / "uplink")
    with pytest.raises(AddressError, match=r"no \*\.packet"):
        run_ground(out=tmp_path / "out", recorded=outbox)
    for number in range(3):
        link.send(batch_packet(number, [make_product(number)], index=number))
    with pytest.raises(AddressError, match=r"--from .*outbox\. To listen, .*outbox/down"):
        station_link(f"folder:{outbox}")
    assert run_ground(out=tmp_path / "out", recorded=outbox)["products"] == 3
    assert run_ground(out=tmp_path / "out", recorded=outbox)["products"] == 3
    assert len(list(outbox.iterdir())) == 3


@pytest.mark.parametrize("address", ["tcp:", "tcp:nowhere", "serial:/dev/ttyS0@fast", "folder:"])
def test_a_bad_link_address_is_named(address: str) -> None:
    with pytest.raises(LinkError):
        station_link(address)


def test_an_output_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="Choose a folder"):
        run_ground(out=blocked, stop=lambda: True)


def test_a_station_process_takes_passes_and_reports_at_the_end(tmp_path: Path, make_slot: MakeSlot) -> None:
    with GroundProcess.start(tmp_path / "ground") as ground, ProductStore(tmp_path / "store.sqlite") as store:
        with closing(ground.connect()) as link:
            store.commit_slot(*make_slot(0, 200))
            report = DownlinkSession(store, link).run_pass(0, 100_000)
        assert (report.delivered_product, report.left_behind) == (200, 0)
        assert ground.stop()["products"] == 200
    assert len(json.loads((tmp_path / "ground" / "products.geojson").read_text())["features"]) == 200


def test_r22_a_station_killed_in_a_pass_doubles_nothing_after_its_restart(tmp_path: Path, make_slot: MakeSlot) -> None:
    killer = (
        "import sys; from runtime.faults import arm_text; from runtime.ground.process import main; "
        "arm_text('ground.acknowledge.after_send:kill'); main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", killer, str(tmp_path / "ground"), str(os.getpid())]
    with ProductStore(tmp_path / "store.sqlite") as store:
        store.commit_slot(*make_slot(0, 200))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as doomed:
            assert doomed.stdout is not None
            address = json.loads(doomed.stdout.readline())["listening"]
            with closing(UdpLink.connect(address)) as link:
                session = DownlinkSession(store, link)
                session._pacing = replace(session._pacing, answer_s=0.2, window_packet=4)
                session.run_pass(0, 100_000)
            assert doomed.wait(timeout=20) == -signal.SIGKILL
        assert store.backlog()[0] > 0
        with GroundProcess.start(tmp_path / "ground") as ground:
            with closing(ground.connect()) as link:
                DownlinkSession(store, link).run_pass(1, 100_000)
            assert store.backlog()[0] == 0
            assert ground.stop()["products"] == 200


def test_a_station_that_cannot_start_says_why(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(LinkError, match="did not start: Cannot use"):
        GroundProcess.start(blocked)


def test_what_was_asked_is_answered_in_a_line_once_refusals_too(tmp_path: Path, make_product: MakeProduct) -> None:
    lines: list[str] = []
    refused = replace(make_product(1), kind="answer", label="s-12ab: refused: no network aboard can search")

    def speak(line: str) -> None:
        board = UdpLink.connect(json.loads(line)["listening"])
        board.send(batch_packet(0, [refused, make_product(2)]))
        board.send(batch_packet(1, [refused], index=1))
        board.send(shutdown_packet())
        board.close()

    run_ground(out=tmp_path, announce=speak, stop=lambda: False, allow_shutdown=True, watch=lines.append)
    assert [line for line in lines if "answer" in line] == ["answer to s-12ab: refused: no network aboard can search"]
