"""File checksums that CFDP names (SANA registry *checksum identifiers*)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

MODULAR, CRC_32, NULL = 0, 3, 15
KNOWN = frozenset({MODULAR, CRC_32, NULL})


def checksum(kind: int, parts: Iterable[bytes]) -> int:
    """The 32-bit checksum of a file that comes in ``parts``; all but the last are a multiple of four bytes long.

    Modular (727.0-B-5, 4.2.2): the sum of its big-endian 32-bit words, the last one filled up with zeros.

    >>> hex(checksum(MODULAR, [bytes.fromhex("0001020304")]))
    '0x4010203'
    >>> hex(checksum(CRC_32, [b"123456789"]))
    '0xcbf43926'
    """
    total = 0
    for part in parts:
        if kind == CRC_32:
            total = zlib.crc32(part, total)
        elif kind == MODULAR:
            padded = part + bytes(-len(part) % 4)
            total += sum(int.from_bytes(padded[at : at + 4], "big") for at in range(0, len(padded), 4))
    return total & 0xFFFF_FFFF
