"""Packets over TCP and over a serial line: whole, in order, and found again after damage."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.downlink import DownlinkSession
from runtime.downlink.links import StreamLink, TcpServer
from runtime.downlink.links.stream import PacketSplitter
from runtime.errors import LinkError
from runtime.ground.archive import Archive
from runtime.ground.receiver import Receiver
from runtime.ground.station import serve
from runtime.records import Product, SlotRecord, TileOutcome
from runtime.store import ProductStore
from runtime.wire.packets import Apid, build

MakeSlot = Callable[[int, int], tuple[SlotRecord, list[TileOutcome], list[Product]]]


@pytest.fixture
def line() -> Iterator[tuple[StreamLink, StreamLink]]:
    """Two ends of a serial line: a pty and whoever holds its other side."""
    master, slave = os.openpty()
    with closing(StreamLink.open_serial(Path(os.ttyname(slave)))) as board:
        os.close(slave)
        with closing(StreamLink(master, "master")) as ground:
            yield board, ground


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.integers(1, 40), st.binary(max_size=40))
@settings(max_examples=80, deadline=None)
def test_a_stream_gives_back_its_packets_however_it_is_cut(payloads: list[bytes], cut: int, noise: bytes) -> None:
    packets = [build(Apid.PRODUCTS, number, payload) for number, payload in enumerate(payloads)]
    stream = b"".join(packets)
    splitter, got = PacketSplitter(), []
    for at in range(0, len(stream), cut):
        splitter.insert(stream[at : at + cut])
        while (packet := splitter.take()) is not None:
            got.append(packet)
    assert got == packets
    assert splitter.skipped_byte == 0
    damaged = PacketSplitter()
    damaged.insert(b"\xff" + noise.replace(b"\x09", b"") + stream)
    found = []
    for _ in range(len(noise) + len(stream) + 2):
        if (packet := damaged.take()) is not None:
            found.append(packet)
        else:
            damaged.skip()
    assert not packets or found[-1] == packets[-1]


def test_a_serial_line_carries_packets_both_ways(line: tuple[StreamLink, StreamLink]) -> None:
    board, ground = line
    down, up = build(Apid.PRODUCTS, 1, bytes(range(256)) * 4), build(Apid.ACKNOWLEDGE, 2, b"\x03\x04\x11\x13 raw")
    board.send(down)
    assert ground.receive(5.0) == down
    ground.send(up)
    assert board.receive(5.0) == up
    assert board.receive() is None


def test_noise_on_a_serial_line_is_skipped(line: tuple[StreamLink, StreamLink]) -> None:
    board, ground = line
    packet = build(Apid.PRODUCTS, 1, b"answer")
    os.write(board.fileno(), b"login: \xff\xfe" + packet)
    assert ground.receive(5.0) == packet
    assert ground.skipped_byte == 9


def test_a_session_over_tcp_delivers_everything(store: ProductStore, archive: Archive, make_slot: MakeSlot) -> None:
    store.commit_slot(*make_slot(0, 300))
    done = threading.Event()
    path = archive.path.with_name("station.sqlite")

    def station(server: TcpServer) -> None:
        with closing(Archive(path)) as own:  # a SQLite connection belongs to its thread
            serve(server, Receiver(own), stop=done.is_set)

    with closing(TcpServer("127.0.0.1:0")) as server:
        thread = threading.Thread(target=station, args=(server,))
        thread.start()
        try:
            with closing(StreamLink.connect_tcp(f"127.0.0.1:{server.address[1]}")) as link:
                report = DownlinkSession(store, link).run_pass(0, 100_000)
        finally:
            done.set()
            thread.join()
    assert (report.delivered_product, report.left_behind) == (300, 0)


def test_a_peer_that_comes_back_is_served_again() -> None:
    packet = build(Apid.PRODUCTS, 1, b"answer")
    with closing(TcpServer("127.0.0.1:0")) as server:
        for _ in range(3):
            server.send(packet)  # nobody is there: lost
            with closing(StreamLink.connect_tcp(f"127.0.0.1:{server.address[1]}")) as link:
                link.send(packet)
                got = None
                while got is None:
                    got = server.receive(5.0)
                assert got == packet


def test_a_peer_that_has_gone_is_noticed() -> None:
    left, right = socket.socketpair()
    with closing(StreamLink(left.fileno(), "peer", owner=left)) as link:
        right.close()
        assert link.receive(1.0) is None
        assert link.ended
        with pytest.raises(LinkError, match="Connect again"):
            link.send(bytes(4000))


def test_what_cannot_be_connected_is_named(tmp_path: Path) -> None:
    with closing(TcpServer("127.0.0.1:0")) as server:
        address = f"127.0.0.1:{server.address[1]}"
        with pytest.raises(LinkError, match="port 0"):
            TcpServer(address)
    with pytest.raises(LinkError, match="Start the other side"):
        StreamLink.connect_tcp(address)
    with pytest.raises(LinkError, match="Cannot open"):
        StreamLink.open_serial(tmp_path / "ttyNone")
    plain = tmp_path / "file"
    plain.write_bytes(b"")
    with pytest.raises(LinkError, match="no serial line"):
        StreamLink.open_serial(plain)
    with pytest.raises(LinkError, match="baud"):
        StreamLink.open_serial(plain, baud=1234)


def test_r23_random_bytes_never_stop_a_splitter() -> None:
    splitter = PacketSplitter()
    splitter.insert(np.random.default_rng(0).bytes(100_000))
    while splitter.take() is not None:
        pass
    splitter.insert(bytes(9000))
    assert splitter.take() is None
    assert splitter.skipped_byte > 90_000
