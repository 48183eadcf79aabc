"""The brown-out ladder: which step of caution a charge asks for. Decides; does nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .sections import LadderSection

STEPS = ("normal", "checkpoint", "shed", "safe")
"""Each includes what the ones before it do."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Where the craft stands on the ladder, and for how many slots it has stood there."""

    step: int = 0
    stayed_slots: int = 0

    @property
    def name(self) -> str:
        """The step's name."""
        return STEPS[self.step]


def climb(rung: Rung, spare_frac: float, ladder: LadderSection) -> Rung:
    """Return the rung after a slot that began with ``spare_frac`` of what lies above the reserve.

    At most one step per slot in either direction. Up again only above the threshold by the hysteresis, and after
    ``dwell_slots``; a charge that is not a number counts as empty.

    >>> climb(Rung(), 0.10, LadderSection()).name
    'checkpoint'
    """
    below = [ladder.checkpoint_frac, ladder.shed_frac, ladder.safe_frac]
    if rung.step < len(below) and not spare_frac >= below[rung.step]:
        return Rung(rung.step + 1)
    may_rise = rung.step > 0 and rung.stayed_slots + 1 >= ladder.dwell_slots
    if may_rise and spare_frac >= below[rung.step - 1] + ladder.hysteresis_frac:
        return Rung(rung.step - 1)
    return replace(rung, stayed_slots=rung.stayed_slots + 1)
