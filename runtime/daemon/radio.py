"""The downlink of a flight: a pass whose link breaks costs the pass, never the daemon."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..cfdp import CfdpEntity
from ..downlink import ChipOutbox, DownlinkSession, Pacing, PassReport
from ..downlink.links import FolderLink, Link, UdpLink
from ..downlink.rules import Rules
from ..errors import LinkError
from ..store import ProductStore
from ..wire.seal import Seal
from .sections import RadioSection

log = logging.getLogger(__name__)

SLICE_S = 0.25


@dataclass
class PatientLink:
    """A link whose waiting shows progress and ends early where the daemon stops."""

    link: Link
    go_on: Callable[[], bool]
    monotonic_s: Callable[[], float]

    def send(self, packet: bytes) -> None:
        """Hand over one packet."""
        self.link.send(packet)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next packet, or ``None`` where none comes in time."""
        until_s = self.monotonic_s() + timeout_s
        while True:
            left_s = until_s - self.monotonic_s()
            packet = self.link.receive(min(max(left_s, 0.0), SLICE_S))
            if packet is not None or left_s <= SLICE_S or not self.go_on():
                return packet

    def close(self) -> None:
        """Close the link below."""
        self.link.close()


def seal_of(section: RadioSection, at: Callable[[str], Path]) -> Seal | None:
    """Return the key that answers have to be sealed with; ``LinkError`` where the file that is named holds none."""
    return Seal.from_file(at(section.key_file)) if section.key_file else None


@dataclass
class Radio:
    """Runs passes. ``fault`` says what was wrong with the last one, empty where nothing was."""

    store: ProductStore
    section: RadioSection
    at: Callable[[str], Path]
    rules: Rules
    files: CfdpEntity
    outbox: ChipOutbox
    go_on: Callable[[], bool]
    monotonic_s: Callable[[], float] = time.monotonic
    """Real time, also in a test: a link waits for another program."""
    seal: Seal | None = None
    """Asked of the ground's answers."""
    fault: str = ""
    last: PassReport | None = None
    _link: Link | None = field(default=None)

    def run_pass(self, slot: int, budget_byte: int, unix_s: float) -> PassReport:
        """Send within ``budget_byte``; a broken link sends nothing and is opened anew in the next pass."""
        nothing = PassReport(slot, budget_byte, 0, 0, 0, self.store.backlog()[0], 0, False, "")
        if budget_byte <= 0 or self.section.kind == "none":
            return nothing
        try:
            if self._link is None:
                self._link = self._open()
            patient = PatientLink(self._link, self.go_on, self.monotonic_s)
            pacing = Pacing(answer_s=self.section.answer_s)
            session = DownlinkSession(
                self.store,
                patient,
                files=self.files,
                rules=self.rules,
                pacing=pacing,
                seal=self.seal,
                clock=self.monotonic_s,
            )
            self.last = session.run_pass(slot, budget_byte, unix_s=unix_s)
            self.outbox.settle(self.last.files)
        except LinkError as error:
            log.warning("pass in slot %d failed: %s", slot, error)
            self.fault = str(error)
            self.close()
            return nothing
        self.fault = ""
        log.info("pass in slot %d: %s", slot, self.last.text)
        return self.last

    def close(self) -> None:
        """Give back the link."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _open(self) -> Link:
        if self.section.kind == "udp":
            return UdpLink.connect(self.section.address)
        return FolderLink(self.at(self.section.outbox), self.at(self.section.uplink))
