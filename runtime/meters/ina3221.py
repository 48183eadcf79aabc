"""Supply rails of a Jetson, read from the INA3221 monitors that the kernel exposes in sysfs.

Each monitor folder holds ``inN_label``, ``inN_input`` (bus voltage, mV) and ``currN_input`` (current, mA) for N = 1..3
(Linux hwmon, ``Documentation/hwmon/ina3221.rst``). The chip resolves 8 mV and 40 µV over the shunt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..errors import EngineError

INA3221_ROOT = Path("/sys/bus/i2c/drivers/ina3221")
_MODULE_INPUT = "VDD_IN"
_AGX_ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
"""Summed as the authors of published AGX Orin logs do. The memory rail may be fed from VIN_SYS_5V0 (in those logs the
two move together): then the sum is some 10 % high. It errs towards more joules, never towards fewer."""


class Channel(Protocol):
    """Anything whose power can be read: a rail, or a recording of one."""

    @property
    def name(self) -> str:
        """The label of the supply."""
        ...

    def power_w(self) -> float:
        """Power now."""
        ...


@dataclass(frozen=True, slots=True)
class Rail:
    """One channel of a monitor."""

    name: str
    voltage_file: Path
    current_file: Path

    def power_w(self) -> float:
        """Power now; the kernel reports millivolts and milliamperes. Raises ``EngineError`` if it reports neither."""
        try:
            return int(self.voltage_file.read_text()) * 1e-3 * int(self.current_file.read_text()) * 1e-3
        except (OSError, ValueError) as error:
            raise EngineError(
                f"The power of rail {self.name} cannot be read: {error}. Check the INA3221 driver, or use an estimate."
            ) from error


def find_rails(root: Path = INA3221_ROOT) -> tuple[Rail, ...]:
    """All labelled channels of all monitors below ``root``, by name; empty where there is no monitor."""
    rails = []
    for label in sorted(root.glob("*/hwmon/hwmon*/in*_label")):
        number = label.name.removeprefix("in").removesuffix("_label")
        name = label.read_text().strip()
        current = label.with_name(f"curr{number}_input")
        if number in ("1", "2", "3") and current.exists() and name not in ("", "NC"):
            rails.append(Rail(name, label.with_name(f"in{number}_input"), current))
    return tuple(sorted(rails, key=lambda rail: rail.name))


def total_rails(rails: Sequence[Rail]) -> tuple[Rail, ...]:
    """The rails that add up to the module: its input where that is metered (Orin NX, Nano), else four (AGX Orin).

    The carrier board is in neither.

    Raises ``EngineError`` for a board whose rails are unknown, because a sum over the wrong ones is no measurement.
    """
    whole = tuple(rail for rail in rails if rail.name == _MODULE_INPUT)
    parts = whole or tuple(rail for rail in rails if rail.name in _AGX_ORIN)
    if not parts:
        known = ", ".join(rail.name for rail in rails) or "none"
        raise EngineError(
            f"Which rails make up the total is not known (found: {known}). Name them, or use an estimate."
        )
    return parts


@dataclass
class Ina3221Meter:
    """Integrates the power of some rails over time, by trapezoids between readings.

    A reading is taken at each ``energy_j`` and, while ``sampling`` runs, every ``period_s`` in the background: without
    it, what happens between two calls is taken to change linearly.
    """

    channels: Sequence[Channel]
    clock: Callable[[], float]
    """Monotonic seconds."""
    kind: str = field(default="measured", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _total_j: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.rails = tuple(rail.name for rail in self.channels)
        self._last_s, self._last_w = self.clock(), self.power_w()

    def power_w(self) -> float:
        """Sum over the rails, now."""
        return sum(rail.power_w() for rail in self.channels)

    def energy_j(self) -> float:
        """Take a reading and return all joules so far."""
        with self._lock:
            now_s, now_w = self.clock(), self.power_w()
            self._total_j += max(now_s - self._last_s, 0.0) * max(now_w + self._last_w, 0.0) / 2
            self._last_s, self._last_w = now_s, now_w
            return self._total_j

    def start(self, period_s: float = 0.1) -> threading.Thread:
        """Read every ``period_s`` in the background until ``stop``."""
        self._stop.clear()
        thread = threading.Thread(target=self._sample, args=(period_s,), name="ina3221", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End the background readings."""
        self._stop.set()

    def _sample(self, period_s: float) -> None:
        while not self._stop.wait(period_s):
            self.energy_j()
