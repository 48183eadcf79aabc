"""Proof that an uplink packet comes from who holds the key: a message authentication code after its data.

HMAC-SHA-256 (RFC 2104, 5: the left half of it), an algorithm that CCSDS 352.0-B names, over the packet's APID and data.
There is no encryption and no counter: transfers and transactions have numbers that are never used twice, so an answer
that is sent again says what was true already. It can make the spacecraft send something twice, never drop anything.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LinkError
from .codec import MalformedError
from .packets import Apid, Packet, build

MAC_BYTE = 16
KEY_BYTE = 32
"""At least; what is longer is used whole."""


@dataclass(frozen=True, slots=True)
class Seal:
    """One key, the same on board and at the station."""

    key: bytes = field(repr=False)

    @classmethod
    def from_file(cls, path: Path) -> Seal:
        """The key in ``path``: 64 hexadecimal digits or more. Raises LinkError, which never shows the content."""
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except OSError as error:
            raise LinkError(f"Cannot read the key {path}: {error.strerror}. Give a file that can be read.") from error
        except ValueError:
            raise LinkError(f"{path} holds no key. Write hexadecimal digits: openssl rand -hex 32.") from None
        if len(key) < KEY_BYTE:
            raise LinkError(f"The key in {path} has {len(key)} bytes. Use {KEY_BYTE}: openssl rand -hex 32.")
        return cls(key)

    def mac(self, apid: Apid, data: bytes) -> bytes:
        """The code of ``data`` in a packet of ``apid``."""
        return hmac.digest(self.key, int(apid).to_bytes(2, "big") + data, "sha256")[:MAC_BYTE]


def build_sealed(seal: Seal | None, apid: Apid, sequence: int, data: bytes) -> bytes:
    """An uplink packet, with its code where there is a key."""
    return build(apid, sequence, data if seal is None else data + seal.mac(apid, data))


def unsealed(seal: Seal | None, packet: Packet) -> bytes:
    """The data of an uplink packet; raises MalformedError where there is a key and the code is not of it."""
    if seal is None:
        return packet.data
    data, mac = packet.data[:-MAC_BYTE], packet.data[-MAC_BYTE:]
    if not hmac.compare_digest(mac, seal.mac(packet.apid, data)):
        raise MalformedError("mac", f"{packet.apid.name} without the right code")
    return data
