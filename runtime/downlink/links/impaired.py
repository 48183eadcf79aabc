"""A channel that loses, doubles, reorders and damages packets, the same way for the same seed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from .base import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """How a channel misbehaves; all are probabilities per packet unless the name says otherwise."""

    loss_frac: float = 0.0
    """Independent loss, outside bursts."""
    burst_start_frac: float = 0.0
    """Of a burst beginning, in which every packet is lost (Gilbert's channel)."""
    burst_packet: float = 10.0
    """Mean length of a burst."""
    duplicate_frac: float = 0.0
    reorder_frac: float = 0.0
    """Of a packet being held back behind later ones."""
    reorder_packet: int = 4
    """How many packets overtake one that is held back, at most."""
    corrupt_frac: float = 0.0
    """Of one bit being flipped."""


class SimulatedChannel:
    """One direction of a bad link."""

    def __init__(self, impairment: Impairment, rng: np.random.Generator) -> None:
        self._how = impairment
        self._rng = rng
        self._held: deque[tuple[int, bytes]] = deque()
        self._in_burst = False
        self._count = 0
        self.lost = 0

    def carry(self, packet: bytes) -> list[bytes]:
        """What comes out when ``packet`` goes in: it, nothing, it twice, or others that were held back."""
        self._count += 1
        arrived: list[bytes] = []
        if self._loses():
            self.lost += 1
        else:
            arrived = self._copies(self._damaged(packet))
        return arrived + self.release(self._count)

    def release(self, count: int | None = None) -> list[bytes]:
        """What was held back and is due; everything where the sender has fallen silent."""
        due = [packet for at, packet in self._held if count is None or at <= count]
        self._held = deque((at, packet) for at, packet in self._held if count is not None and at > count)
        return due

    def _loses(self) -> bool:
        how = self._how
        if self._in_burst:
            self._in_burst = self._rng.random() >= 1 / how.burst_packet
            return True
        if how.burst_start_frac and self._rng.random() < how.burst_start_frac:
            self._in_burst = how.burst_packet > 1
            return True
        return bool(self._rng.random() < how.loss_frac)

    def _damaged(self, packet: bytes) -> bytes:
        if self._rng.random() >= self._how.corrupt_frac:
            return packet
        damaged = bytearray(packet)
        damaged[self._rng.integers(len(packet))] ^= 1 << self._rng.integers(8)
        return bytes(damaged)

    def _copies(self, packet: bytes) -> list[bytes]:
        arrived: list[bytes] = []
        for _ in range(2 if self._rng.random() < self._how.duplicate_frac else 1):
            if self._rng.random() < self._how.reorder_frac:
                self._held.append((self._count + int(self._rng.integers(1, self._how.reorder_packet + 1)), packet))
            else:
                arrived.append(packet)
        return arrived


class ImpairedLink:
    """A link with a bad channel in each direction that has one."""

    def __init__(self, link: Link, *, down: SimulatedChannel | None = None, up: SimulatedChannel | None = None) -> None:
        self._link = link
        self._down = down
        self._up = up
        self._arrived: deque[bytes] = deque()

    def send(self, packet: bytes) -> None:
        """Send what the channel makes of ``packet``."""
        for copy in [packet] if self._down is None else self._down.carry(packet):
            self._link.send(copy)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """What has arrived; packets still held back are let go first, since the sender has fallen silent."""
        for held in self._down.release() if self._down else ():
            self._link.send(held)
        while not self._arrived and (packet := self._link.receive(timeout_s)) is not None:
            self._arrived.extend([packet] if self._up is None else self._up.carry(packet))
        if not self._arrived and self._up is not None:
            self._arrived.extend(self._up.release())
        return self._arrived.popleft() if self._arrived else None

    def close(self) -> None:
        """Close the link below."""
        self._link.close()
