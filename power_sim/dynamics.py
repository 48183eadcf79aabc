"""How one slot changes battery, heat and queue: the only statement of it, for one craft or for a batch.

Every function takes an ``Ops`` first; ``craft`` compiles them for plain numbers, ``vector`` runs them on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

from .ops import Ops, Value


@dataclass(frozen=True, slots=True)
class Plant:
    """What stays the same over a mission, in joules per slot where a rate would be in watts."""

    paper: bool
    slot_s: float
    capacity_j: float
    reserve_j: float
    charge_eff_frac: float
    discharge_eff_frac: float
    max_charge_j: float
    max_discharge_j: float
    idle_j: float
    """Idle compute, part of the load, also heats."""
    busy_s: float
    thermal: bool
    keep_frac: float
    """Share of its distance from the sink that the node's temperature keeps over one slot."""
    rise_k_per_j: float
    """Temperature at the end of a slot per joule dissipated in it."""
    throttle_k: float
    limit_k: float
    queue_max_tile: float
    product_byte: float


def budget_j(ops: Ops, plant: Plant, charge_j: Value, harvest_j: Value, load_j: Value, floor_j: Value) -> Value:
    """Return what inference may draw so that the charge ends the slot at ``floor_j`` or above; negative where idling
    falls short.

    ``floor_j`` is what must be left so that the reserve holds until the next sunlight without further inference.
    """
    spare = charge_j - floor_j
    usable = ops.maximum(spare, 0.0) * plant.discharge_eff_frac + ops.minimum(spare, 0.0) / plant.charge_eff_frac
    return harvest_j - load_j + ops.minimum(usable, plant.max_discharge_j)


def paper_budget_j(
    ops: Ops, plant: Plant, charge_j: Value, harvest_j: Value, share_j: Value, slots_left: Value
) -> Value:
    """Return equation (6) in sunlight and (7) in shadow, where ``share_j`` is zero; ``slots_left`` counts this slot.

    The battery is full when the shadow begins, so (7)'s capacity less what was spent is the charge.
    """
    return ops.where(slots_left > 0, (charge_j - plant.reserve_j) / ops.maximum(slots_left, 1.0), harvest_j - share_j)


def next_charge_j(
    ops: Ops, plant: Plant, charge_j: Value, harvest_j: Value, load_j: Value, energy_j: Value
) -> tuple[Value, Value]:
    """Return (charge, unserved) in joules after a slot: what is left stored, and the load an empty battery did not
    carry.

    A surplus is stored with ``charge_eff_frac`` as far as rate and room allow, a deficit taken with
    ``discharge_eff_frac``.
    """
    net = harvest_j - load_j - energy_j
    gain = ops.minimum(ops.maximum(net, 0.0) * plant.charge_eff_frac, plant.max_charge_j)
    need = ops.maximum(-net, 0.0) / plant.discharge_eff_frac
    unserved = ops.maximum(need - charge_j, 0.0) * plant.discharge_eff_frac
    return ops.maximum(ops.minimum(charge_j + gain, plant.capacity_j) - need, 0.0), unserved


def paper_next_charge_j(
    ops: Ops, plant: Plant, charge_j: Value, harvest_j: Value, share_j: Value, energy_j: Value
) -> tuple[Value, Value]:
    """Return (charge, unserved) of LEO-IISat: a fixed share is stored in sunlight, shadow lives on the battery."""
    stored = ops.minimum(share_j, plant.capacity_j - charge_j)
    return charge_j + stored - ops.where(harvest_j > 0.0, 0.0, energy_j), 0.0 * charge_j


def spilled_and_lost_j(
    plant: Plant, before_j: float, after_j: float, harvest_j: float, load_j: float, energy_j: float, unserved_j: float
) -> tuple[float, float]:
    """Return where the rest of a slot's energy went: sunlight that nothing took, and losses in the battery.

    harvest + unserved = load + energy + spilled + lost + (after - before), to rounding.
    """
    if plant.paper:
        return (harvest_j - energy_j - (after_j - before_j) if harvest_j > 0 else 0.0), 0.0
    net = harvest_j - load_j - energy_j
    if net >= 0:
        into_battery = (after_j - before_j) / plant.charge_eff_frac
        return net - into_battery, into_battery - (after_j - before_j)
    return 0.0, (before_j - after_j) - (-net - unserved_j)


def heat_budget_j(ops: Ops, plant: Plant, temperature_k: Value, sink_k: Value) -> Value:
    """Return what the module may dissipate above idle before it ends the slot at its limit."""
    rest_k = temperature_k * plant.keep_frac + sink_k * (1.0 - plant.keep_frac)
    return (plant.limit_k - rest_k) / plant.rise_k_per_j - plant.idle_j


def next_temperature_k(ops: Ops, plant: Plant, temperature_k: Value, sink_k: Value, energy_j: Value) -> Value:
    """Return the node's temperature after a slot of constant power: the exact solution of C dT/dt = P - G (T -
    sink)."""
    rest_k = temperature_k * plant.keep_frac + sink_k * (1.0 - plant.keep_frac)
    return rest_k + plant.rise_k_per_j * (plant.idle_j + energy_j)


def time_budget_s(ops: Ops, plant: Plant, temperature_k: Value) -> Value:
    """Return the seconds of full clock that a slot offers: less above the throttle temperature, none at the limit."""
    clock = (plant.limit_k - temperature_k) / (plant.limit_k - plant.throttle_k)
    return plant.busy_s * ops.minimum(ops.maximum(clock, 0.0), 1.0)


def admitted_tile(
    ops: Ops, waiting_tile: Value, energy_room_j: Value, time_room_s: Value, energy_j: Value, time_s: Value
) -> Value:
    """Return the whole tiles that fit; ``slot.admit`` says the same for one option and names what stopped it."""
    return ops.minimum(
        ops.maximum(ops.floor(ops.minimum(energy_room_j / energy_j, time_room_s / time_s)), 0.0), waiting_tile
    )
