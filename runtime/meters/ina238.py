"""INA237 and INA238 monitors in hwmon, as on Jetson AGX Thor carriers and many others.

The kernel's driver gives ``in1_input`` (bus voltage, mV), ``curr1_input`` (mA) and ``power1_input`` (µW); Linux hwmon,
``Documentation/hwmon/ina238.rst``. A board's device tree may name the monitor in ``label``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError

HWMON_ROOT = Path("/sys/class/hwmon")
ERROR_FRAC = 0.017
"""0.7 % of the power reading (TI SBOSA20) and a 1 % shunt resistor."""
_CHIPS = ("ina237", "ina238")


@dataclass(frozen=True, slots=True)
class PowerRail:
    """A monitor that multiplies volts and amperes itself."""

    name: str
    power_file: Path

    def power_w(self) -> float:
        """Power now; the kernel reports microwatts. Raises ``EngineError`` if it reports none."""
        try:
            return int(self.power_file.read_text()) * 1e-6
        except (OSError, ValueError) as error:
            raise EngineError(
                f"The power of rail {self.name} cannot be read: {error}. Check the INA238 driver, or use an estimate."
            ) from error


def find_power_rails(root: Path = HWMON_ROOT) -> tuple[PowerRail, ...]:
    """All INA237 and INA238 monitors below ``root``, by name; empty where there is none."""
    rails = []
    for chip in sorted(root.glob("hwmon*/name")):
        power = chip.with_name("power1_input")
        if chip.read_text().strip() in _CHIPS and power.exists():
            label = chip.with_name("label")
            name = label.read_text().strip() if label.exists() else f"{chip.read_text().strip()}@{chip.parent.name}"
            rails.append(PowerRail(name, power))
    return tuple(sorted(rails, key=lambda rail: rail.name))
