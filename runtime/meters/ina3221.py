"""Supply rails of a Jetson, read from the INA3221 monitors that the kernel exposes in sysfs.

Each monitor folder holds ``inN_label``, ``inN_input`` (bus voltage, mV) and ``currN_input`` (current, mA) for N = 1..3
(Linux hwmon, ``Documentation/hwmon/ina3221.rst``). The chip resolves 8 mV and 40 µV over the shunt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError
from .sampled import SampledMeter

INA3221_ROOT = Path("/sys/bus/i2c/drivers/ina3221")
ERROR_FRAC = 0.015
"""Gain errors of bus and shunt reading (0.25 % each, TI SBOS576) and a 1 % shunt resistor. The
offset of the shunt reading (80 µV: 16 mA at 5 mOhm) comes on top; it matters below some 100 mA."""
_MODULE_INPUT = "VDD_IN"
_AGX_ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
"""Summed as the authors of published AGX Orin logs do. The memory rail may be fed from VIN_SYS_5V0 (in those logs the
two move together): then the sum is some 10 % high. It errs towards more joules, never towards fewer."""


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
class Ina3221Meter(SampledMeter):
    """Integrates the power of INA3221 rails; see ``SampledMeter``."""

    error_frac: float = ERROR_FRAC
