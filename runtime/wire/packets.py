"""CCSDS space packets (133.0-B-2) with a CDS time code (301.0-B-4) and a CRC-16 trailer (as in 232.0-B-4).

    primary header 6 | time code 7 (telemetry only) | application data | CRC-16/CCITT-FALSE 2

A payload longer than one packet is cut with the sequence flags first, continuation, last; the ground joins it again.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from spacepackets.ccsds.spacepacket import PacketType, SequenceFlags, SpacePacketHeader
from spacepackets.exceptions import BytesTooShortError

from .codec import MalformedError

HEADER_BYTE = 6
TIME_BYTE = 7
CRC_BYTE = 2
OVERHEAD_BYTE = HEADER_BYTE + TIME_BYTE + CRC_BYTE
MAX_PACKET_BYTE = 8192
"""The longest packet that we send or accept."""
SEQUENCE_MODULUS = 1 << 14

_CDS_P_FIELD = 0x40  # level 1, epoch 1958, 16-bit days, milliseconds of day
_DAYS_1958_TO_1970 = 4383
_MS_PER_DAY = 86_400_000


class Apid(IntEnum):
    """Who speaks: application process identifiers of this mission."""

    HOUSEKEEPING = 0x101
    PRODUCTS = 0x110
    PROMPT = 0x111
    """A batch without products that only asks for an acknowledgement; outside the count of missing packets."""
    FILES = 0x120
    CONTROL = 0x130
    ACKNOWLEDGE = 0x1A0
    FILES_UP = 0x1A1


UPLINK = frozenset({Apid.ACKNOWLEDGE, Apid.FILES_UP})


@dataclass(frozen=True, slots=True)
class Packet:
    """A space packet that has passed every check."""

    apid: Apid
    sequence: int
    flags: SequenceFlags
    time_unix_s: float
    """0 for telecommands, which carry no time."""
    data: bytes


def build(
    apid: Apid, sequence: int, data: bytes, *, time_unix_s: float = 0.0, flags: int = SequenceFlags.UNSEGMENTED
) -> bytes:
    """One packet around ``data``. ``sequence`` wraps at 14 bits."""
    is_uplink = apid in UPLINK
    body = data if is_uplink else encode_time(time_unix_s) + data
    header = SpacePacketHeader(
        packet_type=PacketType.TC if is_uplink else PacketType.TM,
        apid=apid,
        seq_count=sequence % SEQUENCE_MODULUS,
        data_len=len(body) + CRC_BYTE - 1,
        sec_header_flag=not is_uplink,
        seq_flags=SequenceFlags(flags),
    )
    packet = bytes(header.pack()) + body
    return packet + binascii.crc_hqx(packet, 0xFFFF).to_bytes(CRC_BYTE, "big")


def build_all(apid: Apid, sequence: int, payload: bytes, *, time_unix_s: float, packet_byte: int) -> list[bytes]:
    """``payload`` in as many packets of at most ``packet_byte`` as it takes, numbered from ``sequence`` on."""
    room_byte = packet_byte - OVERHEAD_BYTE
    parts = [payload[at : at + room_byte] for at in range(0, len(payload), room_byte)]
    return [
        build(apid, sequence + number, part, time_unix_s=time_unix_s, flags=_flags(number, len(parts)))
        for number, part in enumerate(parts)
    ]


def parse(raw: bytes) -> Packet:
    """The packet in ``raw``; raises MalformedError with a reason for anything that is not exactly one of ours."""
    if not HEADER_BYTE + CRC_BYTE < len(raw) <= MAX_PACKET_BYTE:
        raise MalformedError("size", f"{len(raw)} bytes")
    try:
        header = SpacePacketHeader.unpack(raw)
    except (ValueError, BytesTooShortError) as error:
        raise MalformedError("header", str(error)) from error
    if header.packet_len != len(raw):
        raise MalformedError("length", f"header says {header.packet_len} bytes, {len(raw)} came")
    if binascii.crc_hqx(raw, 0xFFFF) != 0:  # the CRC of a packet with its own CRC is 0
        raise MalformedError("crc")
    if header.ccsds_version != 0 or header.apid not in _KNOWN:
        raise MalformedError("apid", f"version {header.ccsds_version}, APID {header.apid:#x}")
    apid = Apid(header.apid)
    is_uplink = apid in UPLINK
    if is_uplink is not (header.packet_type == PacketType.TC) or header.sec_header_flag is is_uplink:
        raise MalformedError("type", f"{apid.name} as {header.packet_type.name}")
    body = raw[HEADER_BYTE:-CRC_BYTE]
    time_unix_s = 0.0
    if not is_uplink:
        time_unix_s, body = decode_time(body[:TIME_BYTE]), body[TIME_BYTE:]
    return Packet(apid, header.seq_count, header.seq_flags, time_unix_s, body)


def split_stream(data: bytes) -> Iterator[bytes]:
    """The packets of a recording, one after the other. Skips a byte at a time over what is no packet of ours."""
    at = 0
    while at + HEADER_BYTE < len(data):
        length = HEADER_BYTE + 1 + int.from_bytes(data[at + 4 : at + 6], "big")
        packet = data[at : at + length]
        if len(packet) == length and is_packet(packet):
            yield packet
            at += length
        else:
            at += 1


def is_packet(raw: bytes) -> bool:
    """Whether ``raw`` could be one of our packets: a length that is allowed and a checksum that is right."""
    return HEADER_BYTE + CRC_BYTE < len(raw) <= MAX_PACKET_BYTE and binascii.crc_hqx(raw, 0xFFFF) == 0


def may_begin(start: bytes | bytearray) -> bool:
    """Whether a packet of ours could begin with these two bytes or more."""
    return start[0] >> 5 == 0 and ((start[0] & 7) << 8 | start[1]) in _KNOWN


def encode_time(unix_s: float) -> bytes:
    """CDS short time code: P-field, days since 1958, milliseconds of day. Times outside 1958 to 2137 are clamped."""
    total_ms = round(unix_s * 1000) + _DAYS_1958_TO_1970 * _MS_PER_DAY
    days, ms = divmod(min(max(total_ms, 0), 0xFFFF * _MS_PER_DAY), _MS_PER_DAY)
    return struct.pack(">BHI", _CDS_P_FIELD, days, ms)


def decode_time(code: bytes) -> float:
    """Unix seconds of a CDS short time code; raises MalformedError for anything else."""
    if len(code) != TIME_BYTE or code[0] != _CDS_P_FIELD:
        raise MalformedError("time", code.hex())
    days, ms = struct.unpack(">HI", code[1:])
    if ms > _MS_PER_DAY:
        raise MalformedError("time", f"{ms} ms in a day")
    return float((days - _DAYS_1958_TO_1970) * _MS_PER_DAY + ms) / 1000


_KNOWN = frozenset(int(apid) for apid in Apid)


def _flags(number: int, count: int) -> SequenceFlags:
    if count == 1:
        return SequenceFlags.UNSEGMENTED
    if number == 0:
        return SequenceFlags.FIRST_SEGMENT
    return SequenceFlags.LAST_SEGMENT if number == count - 1 else SequenceFlags.CONTINUATION_SEGMENT
