"""What the product store is told and tells: limits, transfers, totals."""

from __future__ import annotations

from dataclasses import dataclass

STEP = 500
"""A commit drops so many rows of a table beyond as many as it has brought: where limits are lowered, the store comes
down to them over the next slots, and none of these is held up for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the store keeps at most."""

    waiting_byte: int = 64 << 20
    """Of products not yet delivered, as sent. Above it, the least value per byte is shed and counted."""
    waiting_product: int = 200_000
    delivered_product: int = 50_000
    """Delivered products are kept this long for reports, the newest slots first."""
    tile: int = 300_000
    decision: int = 50_000
    """The flight recorder: one line a slot."""
    transfer: int = 10_000
    worth: float = 1e6
    """What requests of the ground can raise a product's value to."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one round of a pass sends. ``batches``: the product ids of each batch, in the order of their indices."""

    transfer: int
    slot: int
    first_sequence: int
    packet: int
    sent_byte: int
    batches: tuple[tuple[str, ...], ...]
    bare: frozenset[str] = frozenset()
    """Products that travel without the outline that they have."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals since the store was made; they stay exact when old rows are dropped."""

    queued_product: int
    sent_product: int
    delivered_product: int
    shed_product: int
    shed_value: float
    done_tile: int
    shed_tile: int
    failed_tile: int
    raised_product: int = 0
    """Products that a request of the ground has made worth more; again each time."""
