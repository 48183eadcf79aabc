"""Package energy of x86 processors: the RAPL counters that the kernel exposes as powercap zones.

``energy_uj`` counts microjoules and wraps at ``max_energy_range_uj`` (Linux ``Documentation/power/powercap``). Only the
top zones are summed (``intel-rapl:0``, not ``intel-rapl:0:0``): a package contains its cores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineError

POWERCAP_ROOT = Path("/sys/class/powercap")
ERROR_FRAC = 0.05
"""Spread against external meters in published comparisons (Khan et al., "RAPL in Action", ACM TOMPECS 3(2), 2018)."""


@dataclass
class _Zone:
    name: str
    counter: Path
    range_j: float
    last_j: float = field(default=0.0)

    def read_j(self) -> float:
        """Microjoules to joules. Raises ``EngineError`` where the counter cannot be read."""
        try:
            return int(self.counter.read_text()) * 1e-6
        except (OSError, ValueError) as error:
            raise EngineError(
                f"The RAPL counter {self.counter} cannot be read: {error}. Since 2020 it is readable by root alone: "
                "run as root, or let its owner grant reading."
            ) from error


@dataclass
class RaplMeter:
    """Joules of all processor packages since it was made; a counter must be read before it wraps twice (minutes)."""

    root: Path = POWERCAP_ROOT
    kind: str = field(default="measured", init=False)
    error_frac: float = field(default=ERROR_FRAC, init=False)
    _total_j: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._zones = [
            _Zone((zone / "name").read_text().strip(), zone / "energy_uj", _range_j(zone))
            for zone in rapl_zones(self.root)
        ]
        if not self._zones:
            raise EngineError(f"There is no RAPL zone in {self.root}. Use another meter, or an estimate.")
        for zone in self._zones:
            zone.last_j = zone.read_j()
        self.rails = tuple(zone.name for zone in self._zones)

    def energy_j(self) -> float:
        """All joules so far, over wrapped counters."""
        for zone in self._zones:
            now_j = zone.read_j()
            step_j = now_j - zone.last_j
            self._total_j += step_j if step_j >= 0.0 else step_j + zone.range_j
            zone.last_j = now_j
        return self._total_j


def rapl_zones(root: Path = POWERCAP_ROOT) -> tuple[Path, ...]:
    """The folders of the top RAPL zones."""
    return tuple(sorted(zone for zone in root.glob("*-rapl:*") if zone.name.count(":") == 1))


def _range_j(zone: Path) -> float:
    return int((zone / "max_energy_range_uj").read_text()) * 1e-6
