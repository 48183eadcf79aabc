"""A ground station within the same process: what is sent is received at once."""

from __future__ import annotations

from collections import deque

from .receiver import Receiver


class DirectLink:
    """A link that ends in ``receiver``; its answers come back as if from far away."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._answers: deque[bytes] = deque()

    def send(self, packet: bytes) -> None:
        """Let the station take ``packet``; raises StoreError where it cannot keep it."""
        self._answers.extend(self.receiver.insert(packet))

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The oldest answer, or None. Waiting lets the station act by itself, as the absence of packets does."""
        if not self._answers and timeout_s > 0:
            self._answers.extend(self.receiver.idle())
        return self._answers.popleft() if self._answers else None

    def close(self) -> None:
        """Make durable what came last."""
        self.receiver.commit()
