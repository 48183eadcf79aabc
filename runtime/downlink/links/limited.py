"""Links that keep to a rate, to the byte."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import LinkError
from .base import Link


class BudgetedLink:
    """Lets through exactly what was granted: in a simulation a pass is a number of bytes, not a stretch of waiting."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.left_byte = 0
        self.sent_byte = 0

    def grant(self, budget_byte: int) -> None:
        """Start a pass that may carry ``budget_byte``; what an earlier pass left over is gone."""
        self.left_byte = max(0, budget_byte)

    def send(self, packet: bytes) -> None:
        """Send ``packet``; raises LinkError where the pass has no room for it: then it was planned wrongly."""
        if len(packet) > self.left_byte:
            raise LinkError(
                f"A packet of {len(packet)} bytes exceeds the {self.left_byte} bytes left of the pass. Plan fewer."
            )
        self.left_byte -= len(packet)
        self.sent_byte += len(packet)
        self._link.send(packet)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """What has arrived; the uplink is not limited."""
        return self._link.receive(timeout_s)

    def close(self) -> None:
        """Close the link below."""
        self._link.close()


class PacedLink:
    """Waits before each packet, so that the bytes sent never run ahead of ``rate_bps`` times the time."""

    def __init__(self, link: Link, rate_bps: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        if rate_bps <= 0:
            raise LinkError(f"A link cannot carry {rate_bps} bit/s. Give it a rate above 0.")
        self._link = link
        self._rate_byte_s = rate_bps / 8
        self._clock = clock
        self._sleep = sleep
        self._free_s = clock()

    def send(self, packet: bytes) -> None:
        """Send ``packet`` once the link is free; time in which nothing was sent is not saved up."""
        now_s = self._clock()
        if self._free_s > now_s:
            self._sleep(self._free_s - now_s)
        self._free_s = max(self._free_s, now_s) + len(packet) / self._rate_byte_s
        self._link.send(packet)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """What has arrived; the uplink is not limited."""
        return self._link.receive(timeout_s)

    def close(self) -> None:
        """Close the link below."""
        self._link.close()
