"""What a report is made of. Whoever ends a replay fills these records; nothing here reads a file or a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import SlotRecord


@dataclass(frozen=True, slots=True, eq=False)
class GroundTrack:
    """Subsatellite points in time order: four arrays of shape (n,); every 30 s is fine enough for three orbits.

    Empty where the scenario has no place on Earth: the page then draws no map, and takes shadow from the slots.
    """

    unix_s: NDArray[np.float64]
    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    """-180..180 or 0..360: drawn modulo 360."""
    sunlit: NDArray[np.bool_]
    altitude_m: NDArray[np.float64] | None = None
    """Height above the ellipsoid; without it no horizon is drawn around the craft."""


@dataclass(frozen=True, slots=True)
class Station:
    """A ground station on the map, whether or not it was passed."""

    name: str
    latitude_deg: float
    longitude_deg: float
    mask_deg: float = 0.0
    """Elevation that a contact needs."""


@dataclass(frozen=True, slots=True)
class PassRecord:
    """One contact with a station, and what it brought home."""

    station: str
    start_unix_s: float
    end_unix_s: float
    sent_byte: int
    sent_product: int
    left_product: int
    """Products that still waited aboard when the contact ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A product as the report shows it."""

    label: str
    score: float
    value: float
    frame_id: str
    """The scene, perhaps with ``@2`` and so on for a further look at it."""
    slot: int
    ring_deg: tuple[tuple[float, float], ...] = ()
    """Closed ring of (longitude, latitude); empty where the product has no place."""
    box_px: tuple[int, int, int] | None = None
    """Row, column and edge of the tile in its frame: used rather than the ring where the frame's size is known."""
    truth: str | None = None
    sent_in_slot: int | None = None
    delivered: bool = False
    kind: str = "label"
    """Of the product, as the store names it."""
    chip_png: bytes | None = None
    """The tile's picture (PNG or JPEG) for the handful in the gallery; else a tile is cut from its frame's picture."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """A scene that tiles were cut from. ``image``: all of it, PNG or JPEG, best below 1 MB; None draws none."""

    frame_id: str
    title: str
    credit: str = ""
    image: bytes | None = None
    width_px: int = 0
    height_px: int = 0
    """Size of the scene itself, not of ``image``. 0: answers are laid out by their rings, and no picture is cut."""


@dataclass(frozen=True, slots=True)
class PackageView:
    """A model package that could be chosen, with the figures of its profile."""

    model: str
    package_id: str
    sha256: str
    accuracy_frac: float
    energy_per_tile_j: float
    time_per_tile_s: float
    energy_kind: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReplayReport:
    """Everything that one page shows. ``summary``: as in ``summary.json``; missing keys are taken from the slots."""

    title: str
    scenario: str
    policy: str
    seed: int | None
    """None where it is not known, or there was none."""
    summary: Mapping[str, object]
    slots: Sequence[SlotRecord]
    track: GroundTrack
    passes: Sequence[PassRecord] = ()
    products: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    """Honest statements that a reader needs before the numbers: sampling, estimates, places that are not real."""
    versions: Mapping[str, str]
    stations: Sequence[Station] = ()
    frames: Sequence[FrameView] = ()
    packages: Sequence[PackageView] = ()
    reserve_frac: float | None = None
    """The charge that no decision may go below, as a share of the battery."""
    temperature_limit_c: float | None = None
    slot_s: float | None = None
    """Length of a slot; taken from the first two slots where absent."""
    simulated: bool = True
    """Whether orbit and clock were simulated."""
    command: str = ""
    """What to type to get this page again."""
