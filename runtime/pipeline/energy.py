"""What tiles cost, as far as somebody knows: a meter's difference, or the profile's estimate. The two never mix."""

from __future__ import annotations

from dataclasses import dataclass

from exporters.package import ModelPackage

from ..errors import EngineError
from ..meters import METERS, PowerMeter, find_meter, open_meter
from ..plugins import plugin_names

ESTIMATE, AUTO = "estimate", "auto"


@dataclass
class Joules:
    """Joules of the tiles so far. ``kind``: ``measured`` or ``estimated``; ``source``: which rails or which profile."""

    kind: str
    source: str
    meter: PowerMeter | None = None
    per_tile_j: float = 0.0
    total_j: float = 0.0
    _last_j: float = 0.0

    def start(self) -> None:
        """Count from here."""
        self.total_j = 0.0
        self._last_j = 0.0 if self.meter is None else self.meter.energy_j()

    def of(self, tiles: int) -> float:
        """See ``TileEnergy.of``."""
        if self.meter is None:
            spent = self.per_tile_j * tiles
        else:
            now_j = self.meter.energy_j()
            spent, self._last_j = now_j - self._last_j, now_j
        self.total_j += spent
        return spent / max(tiles, 1)


def open_joules(name: str, package: ModelPackage, batch: int) -> Joules | None:
    """The joules that ``name`` tells of: ``estimate``, ``auto`` (the best meter here), a meter or a plug-in's name.

    None for an empty name. Raises ``EngineError`` where there is no such meter.
    """
    if not name:
        return None
    if name == ESTIMATE:
        entry = package.profile.entry_for(batch=batch)
        return Joules(
            "estimated", f"profile of {entry.device}, batch {entry.batch}", per_tile_j=entry.energy_j_per_tile
        )
    known = [AUTO, ESTIMATE, *METERS, *plugin_names("meters")]
    if name.partition(":")[0] not in known:
        raise EngineError(f"There is no meter {name!r}. Use one of {', '.join(known)}.")
    meter = find_meter() if name == AUTO else open_meter(name)
    if meter is None:
        raise EngineError("This machine has no meter that can be read. Use --meter estimate, or see: subsolar doctor.")
    return Joules(meter.kind, ", ".join(meter.rails), meter=meter)
