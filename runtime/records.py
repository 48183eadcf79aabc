"""The records that flow through the runtime: tile, answer, product, and the line that a slot leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
TileArray = NDArray[Any]
"""Pixels as a package wants them: uint8 (0..255 of the frame's value range), or float32 (physical values)."""


@dataclass(frozen=True, slots=True)
class TileRef:
    """Where a tile lies: a square window of one frame, in pixels from the frame's upper left corner."""

    frame_id: str
    row_px: int
    col_px: int
    edge_px: int
    truth: str | None = None
    """Known class, where the frame comes with labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A tile's pixels. ``pixels``: (bands, edge, edge), dtype and bands as the package's input specification asks."""

    ref: TileRef
    pixels: TileArray


@dataclass(frozen=True, slots=True)
class Footprint:
    """Ground polygon: closed ring of (longitude, latitude) degrees, WGS 84, counter-clockwise (RFC 7946)."""

    ring_deg: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Product:
    """An answer with a place, a time, a value and a size. ``product_id`` is one for a tile, package and slot."""

    product_id: str
    slot: int
    kind: str
    """``label`` now; geometry, chip and tile as the ladder grows."""
    label: str
    score: float
    value: float
    footprint: Footprint | None
    captured_unix_s: float
    frame_id: str
    row_px: int
    col_px: int
    edge_px: int
    package_id: str
    package_sha256: str
    truth: str | None = None


@dataclass(frozen=True, slots=True)
class TileOutcome:
    """How a tile ended: exactly one of ``done``, ``shed`` or ``failed``, with the reason for the last two."""

    ref: TileRef
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """One line of ``slots.csv``. Names ending in ``_measured_s`` are wall-clock and differ from run to run."""

    slot: int
    start_utc: str
    latitude_deg: float
    longitude_deg: float
    cover: str
    """What most of the waiting value shows; empty where nothing waits."""
    sunlit_frac: float
    charge_frac: float
    """At the start of the slot."""
    budget_j: float
    harvest_j: float
    load_j: float
    temperature_c: float
    arrived_tile: int
    queued_tile: int
    model: str
    """``idle`` where nothing ran."""
    mode: str
    reason: str
    overruled: str
    """What the shield changed and why, empty where it agreed."""
    counterfactual: str
    """What the next best choice would have cost and given."""
    limited_by: str
    admitted_tile: int
    """Tiles that this choice does in the slot."""
    sampled_tile: int
    """Tiles really cut and inferred; counts and joules are scaled from them."""
    shed_tile: int
    correct_sampled: int
    scored_sampled: int
    """Sampled tiles whose true class is known."""
    accuracy_frac: float
    """Of the scored sample; NaN where none was scored."""
    expected_accuracy_frac: float
    energy_j: float
    energy_kind: str
    reward: float
    pass_s: float
    sent_byte: int
    sent_product: int
    backlog_product: int
    infer_measured_s: float
    reserve_violated: bool = False
    """The charge fell below the reserve in this slot although something ran."""
