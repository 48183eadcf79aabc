"""How joules, shares and values are written in the reasons that people read."""

from __future__ import annotations

from power_sim.slot import SlotState


def joules(energy_j: float) -> str:
    """Return an energy with a readable prefix.

    >>> joules(11.2), joules(4.5e5), joules(-3.2e6)
    ('11 J', '450 kJ', '-3.2 MJ')
    """
    size = abs(energy_j)
    if size >= 1e6:
        return f"{energy_j * 1e-6:.3g} MJ"
    return f"{energy_j * 1e-3:.3g} kJ" if size >= 1e3 else f"{energy_j:.2g} J" if size < 10 else f"{energy_j:.0f} J"


def charge(state: SlotState) -> str:
    """Return the battery's charge as a share of its capacity, in percent."""
    return f"charge {100 * state.charge_j / state.capacity_j:.0f} %" if state.capacity_j > 0 else "no battery"


def points(worth: float) -> str:
    """Return a value without false precision.

    >>> points(2.123), points(12345.6)
    ('2.12 points', '12346 points')
    """
    return f"{worth:.0f} points" if abs(worth) >= 1000 else f"{worth:.3g} points"
