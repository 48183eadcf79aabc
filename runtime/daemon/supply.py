"""Where charge, temperature and position are read: a file, the kernel's power supply, or an EPS over a socket."""

from __future__ import annotations

import json
import math
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .sections import SupplySection

KNOWN = ("charge_frac", "temperature_c", "solar_w", "latitude_deg", "longitude_deg")
MAX_BYTE = 65_536
_CANDUMP = re.compile(r"(?:\(\S+\)\s+)?\w+\s+([0-9A-Fa-f]{3,8})#([0-9A-Fa-f]*)")


@dataclass(frozen=True, slots=True)
class SupplyReading:
    """What a source says now; ``None`` for what it does not. ``problem``: why it says nothing."""

    charge_frac: float | None = None
    temperature_c: float | None = None
    solar_w: float | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    problem: str = ""


class Supply(Protocol):
    """A source of such readings. Never raises: a spacecraft flies on without."""

    def read(self) -> SupplyReading:
        """Return what is known now."""
        ...


@dataclass(frozen=True)
class ModelSupply:
    """No sensor at all: the charge is reckoned."""

    def read(self) -> SupplyReading:
        """Return nothing."""
        return SupplyReading()


@dataclass(frozen=True)
class FileSupply:
    """A file that another program rewrites: JSON, or lines KEY=VALUE."""

    path: Path
    max_age_s: float
    unix_s: Callable[[], float]

    def read(self) -> SupplyReading:
        """Return what the file says, nothing where it is old."""
        try:
            age_s = self.unix_s() - self.path.stat().st_mtime
            text = self.path.read_bytes()[:MAX_BYTE].decode("utf-8", "replace")
        except OSError as error:
            return SupplyReading(problem=f"{self.path} cannot be read: {error.strerror}")
        if age_s > self.max_age_s:
            return SupplyReading(problem=f"{self.path} is {age_s:.0f} s old")
        return parse(text)


@dataclass(frozen=True)
class PowerSupply:
    """A battery of the kernel's power supply class (Linux ``Documentation/power/power_supply_class.rst``)."""

    folder: Path

    def read(self) -> SupplyReading:
        """Return energy or charge over its full value, else the percentage."""
        for now, full in (("energy_now", "energy_full"), ("charge_now", "charge_full")):
            have, of = self._number(now), self._number(full)
            if have is not None and of:
                return SupplyReading(charge_frac=have / of)
        percent = self._number("capacity")
        if percent is None:
            return SupplyReading(problem=f"{self.folder} says no energy_now, charge_now or capacity")
        return SupplyReading(charge_frac=percent / 100.0)

    def _number(self, name: str) -> float | None:
        try:
            return float((self.folder / name).read_text())
        except (OSError, ValueError):
            return None


@dataclass
class EpsSupply:
    """A power system that answers ``GET`` with one line, or sends CAN frames as candump prints them."""

    address: str
    timeout_s: float = 0.5
    can: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> SupplyReading:
        """Ask once; a new connection each time, so that a restart of either side heals."""
        try:
            with self._connect() as connection:
                connection.settimeout(self.timeout_s)
                connection.sendall(b"GET\n")
                text = _until_newline(connection)
        except OSError as error:
            return SupplyReading(problem=f"the EPS at {self.address} does not answer: {error}")
        return parse(text) if not self.can else parse(uncan(text, self.can))

    def _connect(self) -> socket.socket:
        host, colon, port = self.address.rpartition(":")
        if colon and port.isdigit() and "/" not in self.address:
            return socket.create_connection((host, int(port)), timeout=self.timeout_s)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout_s)
        try:
            connection.connect(self.address)
        except OSError:
            connection.close()
            raise
        return connection


def supply_of(section: SupplySection, at: Callable[[str], Path], unix_s: Callable[[], float]) -> Supply:
    """Return the source that a mission names."""
    if section.kind == "file":
        return FileSupply(at(section.path), section.max_age_s, unix_s)
    if section.kind == "power_supply":
        return PowerSupply(Path("/sys/class/power_supply") / section.path)
    if section.kind == "eps":
        return EpsSupply(section.path, can=section.can)
    return ModelSupply()


def parse(text: str) -> SupplyReading:
    """Return what KEY=VALUE words or a JSON object say; what is unknown or no number is left out.

    >>> parse("charge_frac=0.81 solar_w=3.2 mode=sun").charge_frac
    0.81
    """
    try:
        loaded = json.loads(text) if text.lstrip().startswith("{") else dict(_words(text))
    except (ValueError, RecursionError):
        return SupplyReading(problem=f"{text[:40]!r} is neither JSON nor KEY=VALUE")
    found: dict[str, float] = {}
    for name in KNOWN:
        try:
            number = float(loaded[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(number):
            found[name] = number
    return SupplyReading(**found, problem="" if found else f"{text[:40]!r} says none of {', '.join(KNOWN)}")


def uncan(text: str, can: Mapping[str, str]) -> str:
    """Return candump lines as KEY=VALUE words by a table of ``ID: name:first_byte:bytes:scale``; the last one counts.

    >>> uncan("can0 1A0#1F40 can0 7FF#00", {"1A0": "charge_frac:0:2:0.0001"})
    'charge_frac=0.8'
    """
    by_id = {int(name, 16): spec.split(":") for name, spec in can.items()}
    words: dict[str, str] = {}
    for frame, payload in _CANDUMP.findall(text):
        spec = by_id.get(int(frame, 16))
        if spec is None or len(payload) % 2:
            continue
        first, count = int(spec[1]), int(spec[2])
        data = bytes.fromhex(payload)[first : first + count]
        if len(data) == count:
            words[spec[0]] = f"{int.from_bytes(data, 'big') * float(spec[3]):.12g}"
    return " ".join(f"{name}={value}" for name, value in words.items())


def _words(text: str) -> list[tuple[str, str]]:
    pairs = [word.partition("=") for word in re.split(r"[\s,;]+", text)]
    return [(name, value) for name, sign, value in pairs if sign]


def _until_newline(connection: socket.socket) -> str:
    received = b""
    while b"\n" not in received and len(received) < MAX_BYTE:
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received.decode("utf-8", "replace")
