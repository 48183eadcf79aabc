"""Which products travel, and what a pass does with a link that misbehaves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.downlink import Downlink, DownlinkSession, Pacing
from runtime.downlink.links import (
    BudgetedLink,
    FolderLink,
    ImpairedLink,
    Impairment,
    Link,
    PacedLink,
    SimulatedChannel,
    UdpLink,
    memory_pair,
)
from runtime.errors import LinkError
from runtime.ground.direct import DirectLink
from runtime.records import Footprint, Product, SlotRecord, TileOutcome
from runtime.store import ProductStore
from runtime.wire.packets import OVERHEAD_BYTE, Apid, build_all
from runtime.wire.payload import decode_batch, encode_batch, size_byte

MakeProduct = Callable[..., Product]
MakeSlot = Callable[[int, int], tuple[SlotRecord, list[TileOutcome], list[Product]]]
MakeSession = Callable[..., DownlinkSession]


def fan(corners: int) -> Footprint:
    """A geometry that is the longer on the link the more corners it has."""
    ring = [(10 + number * 1e-3, 50 + number % 2 * 1e-3) for number in range(corners)]
    return Footprint((*ring, ring[0]))


def test_the_best_value_per_byte_leaves_first(make_product: MakeProduct) -> None:
    downlink = Downlink()
    downlink.offer([make_product(number, value=float(number)) for number in range(40)])
    loads = downlink.take(600)
    taken = [name for load in loads for name in load.product_ids]
    best = [make_product(number).product_id for number in range(39, 39 - len(taken), -1)]
    assert taken == best
    assert len(taken) + len(downlink.waiting) == 40


@pytest.mark.parametrize("budget_byte", [0, 10, 80, 500, 1024, 5000])
def test_a_budget_is_kept_to_the_byte(make_product: MakeProduct, budget_byte: int) -> None:
    downlink = Downlink(packet_byte=512)
    downlink.offer([make_product(number) for number in range(150)])
    loads = downlink.take(budget_byte, transfer=3)
    packets = [
        packet
        for load in loads
        for packet in build_all(Apid.PRODUCTS, 0, load.payload, time_unix_s=0.0, packet_byte=512)
    ]
    assert sum(map(len, packets)) == sum(load.sent_byte for load in loads) <= budget_byte
    assert len(packets) == sum(load.packet for load in loads)
    assert all(len(packet) <= 512 for packet in packets)
    if budget_byte >= 500:
        assert sum(map(len, packets)) > budget_byte - 130


def test_a_long_product_travels_in_several_packets(make_product: MakeProduct) -> None:
    downlink = Downlink(packet_byte=256)
    downlink.offer([make_product(1, label="x" * 900), make_product(2)])
    loads = downlink.take(4000)
    assert sorted(load.packet for load in loads) == [1, 5]
    assert [len(decode_batch(load.payload).products) for load in loads] == [1, 1]


def test_what_does_not_fit_leaves_room_for_what_does(make_product: MakeProduct) -> None:
    downlink = Downlink()
    downlink.offer([make_product(1, value=1e6, label="x" * 900), make_product(2)])
    assert [load.product_ids for load in downlink.take(300)] == [(make_product(2).product_id,)]


def test_p15_value_taken_is_close_to_the_best_possible(make_product: MakeProduct) -> None:
    """Against the fractional knapsack, which no real choice can beat; both pay for the names in a batch."""
    rng = np.random.default_rng(5)
    products = [
        replace(make_product(number, value=float(rng.exponential())), footprint=fan(int(rng.integers(3, 40))))
        for number in range(600)
    ]
    downlink = Downlink(packet_byte=4096)
    downlink.offer(products)
    loads = downlink.take(20_000)
    taken = {name for load in loads for name in load.product_ids}
    got = sum(product.value for product in products if product.product_id in taken)
    names_byte = len(encode_batch(0, 0, products[:1])) - size_byte(products[0]) + OVERHEAD_BYTE
    bound, left = 0.0, 20_000.0 - names_byte * len(loads)
    for product in sorted(products, key=lambda p: -p.value / size_byte(p)):
        share = min(1.0, left / size_byte(product))
        bound, left = bound + share * product.value, left - share * size_byte(product)
    assert got >= 0.97 * bound


def test_a_pass_delivers_what_fits_and_reports_it(
    store: ProductStore, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    store.commit_slot(*make_slot(0, 100))
    link = BudgetedLink(station)
    link.grant(2000)
    report = make_session(store, link).run_pass(0, 2000)
    assert link.sent_byte == report.sent_byte <= 2000
    assert report.sent_product == report.delivered_product == store.counts().delivered_product
    assert report.left_behind == 100 - report.delivered_product
    assert "left behind" in report.text
    assert station.receiver.counts["products"] == report.delivered_product


def test_without_contact_nothing_is_sent(
    store: ProductStore, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    store.commit_slot(*make_slot(0, 10))
    report = make_session(store, station).run_pass(0, 0)
    assert (report.sent_byte, report.sent_product, report.left_behind) == (0, 0, 10)
    assert station.receiver.counts["packets"] == 0


def test_passes_go_on_until_everything_is_down_once(
    store: ProductStore, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    session = make_session(store, station)
    for slot in range(6):
        store.commit_slot(*make_slot(slot, 50))
        session.run_pass(slot, 3000)
    while store.backlog()[0]:
        session.run_pass(9, 3000)
    assert station.receiver.counts["products"] == 300
    assert station.receiver.counts["duplicates"] == 0
    assert station.receiver.missing_packet == 0


@pytest.mark.parametrize("loss_frac", [0.01, 0.1, 0.3])
def test_r20_a_lossy_channel_delays_but_loses_nothing(
    store: ProductStore, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot, loss_frac: float
) -> None:
    how = Impairment(loss_frac=loss_frac, duplicate_frac=0.05, reorder_frac=0.1, corrupt_frac=0.02)
    link = ImpairedLink(
        station,
        down=SimulatedChannel(how, np.random.default_rng(1)),
        up=SimulatedChannel(how, np.random.default_rng(2)),
    )
    store.commit_slot(*make_slot(0, 400))
    session = make_session(store, link, packet_byte=256)
    for slot in range(40):
        session.run_pass(slot, 12_000)
        if not store.backlog()[0]:
            break
    assert store.backlog()[0] == 0
    assert station.receiver.counts["products"] == 400


def test_r20_bursts_are_survived(
    store: ProductStore, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    channel = SimulatedChannel(Impairment(burst_start_frac=0.03, burst_packet=12), np.random.default_rng(4))
    store.commit_slot(*make_slot(0, 400))
    session = make_session(store, ImpairedLink(station, down=channel), packet_byte=256)
    for slot in range(20):
        session.run_pass(slot, 12_000)
    assert channel.lost > 10
    assert store.backlog()[0] == 0
    assert station.receiver.counts["products"] == 400


def test_r20_at_ten_percent_loss_little_is_sent_twice(
    store: ProductStore, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    """Each lost packet is repeated and nothing else: 1 / 0.9 of the bytes, and the prompts."""
    store.commit_slot(*make_slot(0, 2000))
    down = SimulatedChannel(Impairment(loss_frac=0.1), np.random.default_rng(8))
    report = make_session(store, ImpairedLink(station, down=down)).run_pass(0, 1_000_000)
    assert report.left_behind == 0
    undisturbed_byte = sum(size_byte(product) for product in store.products()) * 1.19  # names, headers, batches
    assert report.sent_byte <= 1.15 * undisturbed_byte


def test_a_silent_ground_ends_the_pass_without_repeating_itself(
    store: ProductStore, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    store.commit_slot(*make_slot(0, 100))
    ours, _ = memory_pair()
    report = make_session(store, ours).run_pass(0, 100_000)
    assert report.silent
    assert (report.sent_product, report.repeated_product, report.delivered_product) == (100, 0, 0)
    assert store.backlog()[0] == 100


def test_r21_an_answer_that_comes_in_the_next_pass_still_counts(
    store: ProductStore, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    class Delayed:
        """Keeps answers back until the next pass."""

        def __init__(self) -> None:
            self.held: deque[bytes] = deque()
            self.open = False

        def send(self, packet: bytes) -> None:
            station.send(packet)

        def receive(self, timeout_s: float = 0.0) -> bytes | None:
            while (answer := station.receive()) is not None:
                self.held.append(answer)
            return self.held.popleft() if self.open and self.held else None

        def close(self) -> None:
            station.close()

    store.commit_slot(*make_slot(0, 30))
    link = Delayed()
    session = make_session(store, link)
    assert session.run_pass(0, 50_000).delivered_product == 0
    link.open = True
    report = session.run_pass(1, 50_000)
    assert (report.delivered_product, report.sent_product, report.left_behind) == (30, 0, 0)
    assert station.receiver.counts["duplicates"] == 0


def test_r22_products_in_flight_at_a_reboot_are_asked_for_and_not_sent_again(
    tmp_path: Path, station: DirectLink, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    class Deaf:
        def send(self, packet: bytes) -> None:
            station.send(packet)

        def receive(self, timeout_s: float = 0.0) -> bytes | None:
            return None

        def close(self) -> None:
            station.close()

    path = tmp_path / "store.sqlite"
    with ProductStore(path) as store:
        store.commit_slot(*make_slot(0, 30))
        make_session(store, Deaf()).run_pass(0, 50_000)
    while station.receive():
        pass
    with ProductStore(path) as store:
        report = make_session(store, station).run_pass(1, 50_000)
        assert (report.delivered_product, report.sent_product) == (30, 0)


def test_r23_hostile_uplink_packets_are_counted_and_change_nothing(
    store: ProductStore, make_session: MakeSession, make_slot: MakeSlot
) -> None:
    store.commit_slot(*make_slot(0, 10))
    ours, theirs = memory_pair()
    rng = np.random.default_rng(0)
    for length in range(1, 60):
        theirs.send(rng.bytes(length))
    theirs.send(build_all(Apid.PRODUCTS, 0, b"not an answer", time_unix_s=0.0, packet_byte=512)[0])
    session = make_session(store, ours)
    assert session.run_pass(0, 20_000).delivered_product == 0
    assert sum(session.rejected.values()) == 60


def test_a_budgeted_link_refuses_the_byte_too_many() -> None:
    ours, theirs = memory_pair()
    link = BudgetedLink(ours)
    link.grant(10)
    link.send(b"1234567")
    with pytest.raises(LinkError, match="3 bytes left"):
        link.send(b"1234")
    link.send(b"123")
    assert (link.left_byte, theirs.receive(), theirs.receive()) == (0, b"1234567", b"123")


def test_a_paced_link_keeps_its_rate_to_the_byte() -> None:
    now_s = [100.0]
    sent_s: list[float] = []

    class Watched:
        def send(self, packet: bytes) -> None:
            sent_s.append(now_s[0])

        def receive(self, timeout_s: float = 0.0) -> bytes | None:
            return None

        def close(self) -> None: ...

    def sleep(duration_s: float) -> None:
        now_s[0] += duration_s

    link: Link = PacedLink(Watched(), rate_bps=8000, clock=lambda: now_s[0], sleep=sleep)
    for _ in range(4):
        link.send(bytes(500))
    now_s[0] += 10
    link.send(bytes(1))
    assert sent_s == pytest.approx([100.0, 100.5, 101.0, 101.5, 111.5])


def test_udp_carries_packets_both_ways_on_loopback() -> None:
    ground = UdpLink.bind("127.0.0.1:0")
    host, port = ground.address
    board = UdpLink.connect(f"{host}:{port}")
    try:
        assert board.receive() is None
        board.send(b"down")
        assert ground.receive(5.0) == b"down"
        ground.send(b"up")
        assert board.receive(5.0) == b"up"
    finally:
        ground.close()
        board.close()


def test_udp_without_a_listener_loses_packets_and_goes_on() -> None:
    ground = UdpLink.bind("127.0.0.1:0")
    host, port = ground.address
    ground.close()
    board = UdpLink.connect(f"{host}:{port}")
    try:
        for _ in range(3):
            board.send(b"anyone?")
            assert board.receive(0.01) is None
    finally:
        board.close()


@pytest.mark.parametrize("address", ["", "nowhere", "127.0.0.1:x", "127.0.0.1:99999", ":5"])
def test_a_bad_address_is_named(address: str) -> None:
    with pytest.raises(LinkError, match="HOST:PORT"):
        UdpLink.bind(address)


def test_an_address_in_use_is_named() -> None:
    ground = UdpLink.bind("127.0.0.1:0")
    try:
        with pytest.raises(LinkError, match="port 0"):
            UdpLink.bind(f"127.0.0.1:{ground.address[1]}")
    finally:
        ground.close()


def test_a_folder_carries_packets_in_order(tmp_path: Path) -> None:
    board = FolderLink(tmp_path / "down", tmp_path / "up")
    ground = FolderLink(tmp_path / "up", tmp_path / "down")
    board.send(b"one")
    FolderLink(tmp_path / "down", tmp_path / "up").send(b"two")
    assert [ground.receive(), ground.receive(), ground.receive()] == [b"one", b"two", None]
    ground.send(b"answer")
    assert board.receive() == b"answer"


def test_a_channel_repeats_itself_for_the_same_seed() -> None:
    how = Impairment(loss_frac=0.2, duplicate_frac=0.2, reorder_frac=0.2, corrupt_frac=0.2)
    runs = []
    for _ in range(2):
        channel = SimulatedChannel(how, np.random.default_rng(3))
        runs.append([channel.carry(bytes([number] * 8)) for number in range(100)] + [channel.release()])
    assert runs[0] == runs[1]
    assert 5 < channel.lost < 40


def test_pacing_is_part_of_the_session(store: ProductStore, station: DirectLink, make_slot: MakeSlot) -> None:
    store.commit_slot(*make_slot(0, 200))
    session = DownlinkSession(store, station, pacing=Pacing(packet_byte=256, window_packet=4), clock=lambda: 0.0)
    session.run_pass(0, 100_000)
    assert station.receiver.counts["packets"] > 40
    assert store.backlog()[0] == 0
