"""What a link is, and one in memory."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Link(Protocol):
    """Carries whole packets both ways; may lose, double, reorder or damage them."""

    def send(self, packet: bytes) -> None:
        """Hand over one packet. Raises LinkError only where the link itself is broken, never for a lost packet."""
        ...

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next packet that has arrived, or None where none comes within ``timeout_s``."""
        ...

    def close(self) -> None:
        """Give back what the link holds."""
        ...


class MemoryLink:
    """One end of a link within a process; never waits."""

    def __init__(self, inbox: deque[bytes], outbox: deque[bytes]) -> None:
        self._inbox = inbox
        self._outbox = outbox

    def send(self, packet: bytes) -> None:
        """Lay ``packet`` before the other end."""
        self._outbox.append(packet)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next packet, or None; nothing can arrive while this end waits, so it does not."""
        return self._inbox.popleft() if self._inbox else None

    def close(self) -> None:
        """Nothing to give back."""


def memory_pair() -> tuple[MemoryLink, MemoryLink]:
    """Two ends of one link: what one sends, the other receives."""
    down: deque[bytes] = deque()
    up: deque[bytes] = deque()
    return MemoryLink(up, down), MemoryLink(down, up)
