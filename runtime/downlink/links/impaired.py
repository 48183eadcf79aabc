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


class ImpairedLink:
    """Sends through a bad channel; receives undisturbed. Two of them, one at each end, disturb both ways."""

    def __init__(self, link: Link, impairment: Impairment, rng: np.random.Generator) -> None:
        self._link = link
        self._how = impairment
        self._rng = rng
        self._held: deque[tuple[int, bytes]] = deque()
        self._in_burst = False
        self._count = 0
        self.lost = 0

    def send(self, packet: bytes) -> None:
        """Send what the channel makes of ``packet``."""
        self._count += 1
        if self._loses():
            self.lost += 1
        else:
            self._pass_on(self._damaged(packet))
        self._release(self._count)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """What has arrived; a packet still held back is let go first, since the sender has fallen silent."""
        self._release(None)
        return self._link.receive(timeout_s)

    def close(self) -> None:
        """Close the link below."""
        self._link.close()

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

    def _pass_on(self, packet: bytes) -> None:
        copies = 2 if self._rng.random() < self._how.duplicate_frac else 1
        for _ in range(copies):
            if self._rng.random() < self._how.reorder_frac:
                self._held.append((self._count + int(self._rng.integers(1, self._how.reorder_packet + 1)), packet))
            else:
                self._link.send(packet)

    def _release(self, count: int | None) -> None:
        waiting = [(due, packet) for due, packet in self._held if count is not None and due > count]
        for due, packet in self._held:
            if count is None or due <= count:
                self._link.send(packet)
        self._held = deque(waiting)
