"""Word to systemd (``sd_notify(3)``): ready, alive, reloading, stopping. Silent where nobody listens."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class Notifier:
    """Sends datagrams to the service manager. ``progress`` is called by whoever gets work done, and by nobody else:
    a loop that hangs stops the pings, and the watchdog acts."""

    address: str
    watchdog_s: float
    """0: nobody watches."""
    monotonic_s: Callable[[], float]
    _last_ping_s: float = field(default=float("-inf"), init=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int, monotonic_s: Callable[[], float]) -> Notifier:
        """Return the notifier that systemd's variables ask for."""
        watchdog_s = 0.0
        if environment.get("WATCHDOG_PID", str(pid)) == str(pid):
            with suppress(ValueError):
                watchdog_s = int(environment.get("WATCHDOG_USEC", "0")) * 1e-6
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s, monotonic_s)

    def ready(self, status: str) -> None:
        """Say that the daemon does its work from now on, also after a reload."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that a reload has begun."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self.monotonic_s() * 1e6)}")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """Say that the daemon is on its way out."""
        self._send("STOPPING=1")

    def progress(self) -> None:
        """Ping the watchdog, at most four times per period."""
        now_s = self.monotonic_s()
        if self.watchdog_s > 0 and now_s - self._last_ping_s >= self.watchdog_s / 4:
            self._last_ping_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self.address:
            return
        path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0.2)
            sender.sendto(text.encode(), path)
