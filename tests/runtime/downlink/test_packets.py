"""Bytes on the link: exact, compact, and never trusted."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacepackets.ccsds.spacepacket import SequenceFlags, SpacePacketHeader
from spacepackets.ccsds.time import CdsShortTimestamp

from runtime.records import Footprint, Product
from runtime.wire.codec import MalformedError, Reader, Writer
from runtime.wire.messages import (
    Acknowledgement,
    Housekeeping,
    decode_acknowledgement,
    decode_housekeeping,
    encode_acknowledgement,
    encode_housekeeping,
    to_ranges,
)
from runtime.wire.packets import Apid, build, build_all, decode_time, encode_time, parse, split_stream
from runtime.wire.payload import decode_batch, encode_batch, prompted, size_byte, unfit

MakeProduct = Callable[..., Product]
NAMES = st.text(max_size=6)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
CORNER = st.tuples(st.integers(-180_000_000, 180_000_000), st.integers(-90_000_000, 90_000_000)).map(
    lambda micro: (micro[0] / 1e6, micro[1] / 1e6)
)
RINGS = st.lists(CORNER, min_size=3, max_size=8).map(lambda corners: Footprint((*corners, corners[0])))
WINDOW = st.integers(0, 2**31)


def plain(number: int) -> Product:
    return Product(
        f"{number:016x}", 1, "label", "River", 0.5, 1.0, None, 1_750_000_000.0, "f", 0, 0, 64, "p", "ab" * 32
    )


PRODUCTS = st.builds(
    Product,
    product_id=st.text(min_size=1, max_size=8),
    slot=WINDOW,
    kind=NAMES,
    label=NAMES,
    score=FINITE,
    value=FINITE,
    footprint=st.none() | RINGS,
    captured_unix_s=st.integers(-(2**40), 2**42).map(lambda ms: ms / 1000),
    frame_id=NAMES,
    row_px=WINDOW,
    col_px=WINDOW,
    edge_px=WINDOW,
    package_id=NAMES,
    package_sha256=NAMES,
)


def corners_of(product: Product) -> list[float]:
    """The ring's numbers, without a closing corner that may stand there twice."""
    ring = product.footprint.ring_deg if product.footprint else ()
    while len(ring) > 1 and ring[-1] == ring[0]:
        ring = ring[:-1]
    return [number for corner in ring for number in corner]


def refused(decode: Callable[[bytes], object], data: bytes) -> str:
    """Why ``decode`` refuses ``data``; empty where it does not."""
    try:
        decode(data)
    except MalformedError as error:
        return error.reason
    return ""


REASONS = {"", "apid", "crc", "geometry", "header", "length", "number", "range", "size", "string", "text", "time"}
REASONS |= {"trailing", "truncated", "type", "version"}


def sealed(packet: bytes) -> bytes:
    """The packet with a right CRC, so that the checks behind it are reached."""
    body = packet[:-2]
    return body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")


@given(st.lists(PRODUCTS, max_size=3), st.integers(0, 2**63 - 1), st.integers(0, 2**16 - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_batch_comes_back_as_it_was(products: list[Product], transfer: int, index: int, prompt: bool) -> None:
    batch = decode_batch(encode_batch(transfer, index, products, prompt=prompt))
    assert (batch.transfer, batch.index, batch.prompt) == (transfer, index, prompt)
    for got, sent in zip(batch.products, products, strict=True):
        assert round(got.captured_unix_s * 1000) == round(sent.captured_unix_s * 1000)
        assert corners_of(got) == pytest.approx(corners_of(sent))
        assert replace(got, footprint=None, captured_unix_s=0) == replace(sent, footprint=None, captured_unix_s=0)


def test_a_label_takes_tens_of_bytes(make_product: MakeProduct) -> None:
    assert size_byte(make_product(1)) <= 50
    assert len(encode_batch(1, 0, [make_product(number) for number in range(20)])) / 20 <= 56


def test_the_truth_about_a_tile_stays_on_board(make_product: MakeProduct) -> None:
    told = replace(make_product(1), truth="SeaLake")
    assert encode_batch(1, 0, [told]) == encode_batch(1, 0, [make_product(1)])


def test_only_the_prompt_flag_changes_when_a_batch_asks_for_an_answer(make_product: MakeProduct) -> None:
    quiet = encode_batch(1, 0, [make_product(1)])
    assert prompted(quiet) == encode_batch(1, 0, [make_product(1)], prompt=True)


def test_a_packet_is_a_ccsds_space_packet() -> None:
    raw = build(Apid.PRODUCTS, 0x4001, b"answers", time_unix_s=1_750_000_000.5)
    header = SpacePacketHeader.unpack(raw)
    assert (header.apid, header.seq_count, header.packet_len) == (0x110, 1, len(raw))
    assert (header.seq_flags, header.sec_header_flag) == (SequenceFlags.UNSEGMENTED, True)
    stamp = CdsShortTimestamp.unpack(raw[6:13])
    assert stamp.as_unix_seconds() == pytest.approx(1_750_000_000.5)
    packet = parse(raw)
    assert (packet.apid, packet.sequence, packet.time_unix_s, packet.data) == (
        Apid.PRODUCTS,
        1,
        1_750_000_000.5,
        b"answers",
    )


def test_the_crc_is_the_one_of_the_standard() -> None:
    assert binascii.crc_hqx(b"123456789", 0xFFFF) == 0x29B1  # CRC-16/CCITT-FALSE check value


@pytest.mark.parametrize("unix_s", [0.0, 1.5, 1_750_000_000.123, -10.0])
def test_time_survives_to_the_millisecond(unix_s: float) -> None:
    assert decode_time(encode_time(unix_s)) == pytest.approx(unix_s, abs=5e-4)


def test_a_long_payload_is_cut_and_numbered() -> None:
    packets = [parse(raw) for raw in build_all(Apid.PRODUCTS, 16382, bytes(2500), time_unix_s=0.0, packet_byte=1024)]
    assert [packet.sequence for packet in packets] == [16382, 16383, 0]
    assert [int(packet.flags) for packet in packets] == [1, 0, 2]
    assert sum(len(packet.data) for packet in packets) == 2500


def test_r23_each_kind_of_bad_packet_has_its_own_reason() -> None:
    good = build(Apid.PRODUCTS, 5, b"payload")
    assert refused(parse, b"") == "size"
    assert refused(parse, good + bytes(9000)) == "size"
    assert refused(parse, good[:-1]) == "length"
    assert refused(parse, good + b"x") == "length"
    assert refused(parse, good[:-3] + b"X" + good[-2:]) == "crc"
    assert refused(parse, sealed(b"\x0f\xff" + good[2:])) == "apid"
    assert refused(parse, sealed(bytes([good[0] | 0x20]) + good[1:])) == "apid"
    assert refused(parse, sealed(bytes([good[0] | 0x10]) + good[1:])) == "type"
    assert refused(parse, sealed(good[:6] + b"\x41" + good[7:])) == "time"


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_r23_any_bytes_are_a_packet_or_are_refused(raw: bytes) -> None:
    for attempt in (raw, sealed(raw) if len(raw) > 8 else raw):
        assert refused(parse, attempt) in REASONS


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_r23_damaged_messages_are_understood_or_refused(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from(
            [
                encode_batch(7, 2, [plain(1), plain(2)]),
                encode_acknowledgement(Acknowledgement(7, 2, ((0, 3), (9, 1)))),
                encode_housekeeping(Housekeeping(1, 0.5, 20.0, 1, 2, 3, 4)),
            ]
        )
    )
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for decode in (decode_batch, decode_acknowledgement, decode_housekeeping):
        assert refused(decode, cut) in REASONS


def test_r23_numbers_that_nothing_can_keep_are_refused() -> None:
    """Found by fuzzing: SQLite keeps 63 bits, and a date ends with the year 9999."""
    batch = bytearray(encode_batch(1, 0, [plain(1)]))
    batch[1] = 0x80
    assert refused(decode_batch, bytes(batch)) == "number"
    answer = bytearray(encode_acknowledgement(Acknowledgement(1, 0, ())))
    answer[1] = 0x80
    assert refused(decode_acknowledgement, bytes(answer)) == "number"
    late = encode_batch(1, 0, [replace(plain(1), captured_unix_s=3e11)])
    assert refused(decode_batch, late) == "time"
    assert "years" in unfit(replace(plain(1), captured_unix_s=3e11))


def test_r23_a_batch_that_announces_too_much_is_refused_before_memory_is_spent() -> None:
    writer = Writer()
    writer.pack("BQHqHH", 0x10, 1, 0, 0, 65535, 65535)
    with pytest.raises(MalformedError, match="announced"):
        decode_batch(bytes(writer.buffer))


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31))
def test_numbers_come_back(unsigned: int, signed: int) -> None:
    writer = Writer()
    writer.varint(unsigned)
    writer.signed(signed)
    reader = Reader(bytes(writer.buffer))
    assert (reader.varint(), reader.signed(), reader.left_byte) == (unsigned, signed, 0)


def test_an_acknowledgement_takes_two_bytes_a_range() -> None:
    ranges = to_ranges([*range(100), *range(150, 170), 180])
    acknowledgement = Acknowledgement(77 << 32 | 12, 180, ranges)
    encoded = encode_acknowledgement(acknowledgement)
    assert len(encoded) == 12 + 2 * 3
    assert decode_acknowledgement(encoded) == acknowledgement
    assert 99 in acknowledgement
    assert 100 not in acknowledgement


def test_housekeeping_comes_back_within_its_resolution() -> None:
    state = Housekeeping(77, 0.625, -12.34, 100, 5000, 20, 3)
    got = decode_housekeeping(encode_housekeeping(state))
    assert got == replace(state, charge_frac=got.charge_frac)
    assert got.charge_frac == pytest.approx(0.625, abs=1e-4)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=30))
@settings(max_examples=50, deadline=None)
def test_a_recording_gives_back_its_packets_despite_damage_before_them(payloads: list[bytes], noise: bytes) -> None:
    packets = [build(Apid.PRODUCTS, number, payload) for number, payload in enumerate(payloads)]
    assert list(split_stream(b"".join(packets))) == packets
    found = list(split_stream(noise + b"".join(packets)))
    assert not packets or found[-1] == packets[-1]
