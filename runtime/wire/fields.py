"""Telemetry fields as a table: one description from which they are encoded, decoded and documented."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .codec import MalformedError

BITS = {"B": 8, "H": 16, "I": 32, "Q": 64, "q": 64, "h": 16, "i": 32}
SIGNED = frozenset("hiq")


@dataclass(frozen=True, slots=True)
class Field:
    """One number: ``raw * scale`` is its value in ``unit``. ``code`` is its letter in ``struct``, big-endian."""

    name: str
    code: str
    about: str
    unit: str = ""
    scale: float = 1.0

    @property
    def bits(self) -> int:
        """Its width."""
        return BITS[self.code]

    @property
    def signed(self) -> bool:
        """Two's complement."""
        return self.code in SIGNED

    def raw(self, value: float) -> int:
        """The number on the link; what does not fit goes to the nearest end, what is no number to the lowest."""
        low, high = (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)
        return min(max(round(value / self.scale), low), high) if math.isfinite(value) else low


def encode_fields(fields: Sequence[Field], values: Mapping[str, float]) -> bytes:
    """The fields one after the other."""
    return struct.pack(layout(fields), *(field.raw(values[field.name]) for field in fields))


def decode_fields(fields: Sequence[Field], data: bytes) -> dict[str, float]:
    """The values by name; raises MalformedError where ``data`` is not exactly these fields."""
    if len(data) != struct.calcsize(layout(fields)):
        raise MalformedError("length", f"{len(data)} bytes for {len(fields)} fields")
    raws = struct.unpack(layout(fields), data)
    return {
        field.name: raw if field.scale == 1.0 else raw * field.scale for field, raw in zip(fields, raws, strict=True)
    }


def layout(fields: Sequence[Field]) -> str:
    """Their ``struct`` layout."""
    return ">" + "".join(field.code for field in fields)
