"""Why a battery was below its reserve although no inference took it there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .records import SlotRecord

_SEEN_FRAC = 5e-4
"""What is less below the reserve than this is not seen in figures of one decimal."""


def reserve_note(slots: Sequence[SlotRecord], reserve_frac: float | None) -> str:
    """Return a clause about a charge below the reserve that inference has no part in; empty where there is none."""
    charges = [slot.charge_frac for slot in slots if math.isfinite(slot.charge_frac)]
    if reserve_frac is None or not charges or any(slot.reserve_violated for slot in slots):
        return ""
    lowest = min(charges)
    if lowest > reserve_frac - _SEEN_FRAC:
        return ""
    digits = 0 if round(lowest, 2) < round(reserve_frac, 2) else 1
    low, reserve = (f"{100 * frac:.{digits}f} %" for frac in (lowest, reserve_frac))
    if charges[0] == lowest:
        return f"the battery began at {low}, below the reserve of {reserve}"
    return f"the battery fell to {low}, below the reserve of {reserve}: by the bus load, not by inference"
