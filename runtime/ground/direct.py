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
        answer = self.receiver.insert(packet)
        if answer is not None:
            self._answers.append(answer)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The oldest answer, or None; waiting would bring no other."""
        return self._answers.popleft() if self._answers else None

    def close(self) -> None:
        """Make durable what came last."""
        self.receiver.commit()
