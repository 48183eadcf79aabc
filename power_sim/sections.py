"""The sections of a scenario or mission file: schema, defaults and documentation of every key.

A scenario says what is simulated, a mission file what the daemon uses; they share these sections. File units (degrees,
Celsius, watt-hours, kilometres) are converted where the timeline and the plant are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .config import key
from .constants import EARTH_RADIUS_M
from .profiles import ModelProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class OrbitSection:
    """Where the craft is, when the mission starts, and how time is cut into slots."""

    kind: str = key("tle", choices=("tle", "omm", "sgp4", "keplerian", "ideal", "sortie"))
    """``tle``: SGP4 from two lines; ``omm``: SGP4 from an Orbit Mean-Elements Message; ``sgp4``: SGP4 from the mean
    elements below; ``keplerian``: J2 ellipse; ``ideal``: the paper's circle;
    ``sortie``: a UAV's flight."""
    start_utc: str = "2023-10-16T00:00:00Z"
    window_days: float = key(0.0, low=0.0, high=400.0)
    """Each seed starts in a slot drawn from this many days after ``start_utc``."""
    slot_s: float = key(180.0, low=1.0, high=3600.0)
    orbits: float = key(3.0, above=0.0, high=10_000.0)
    """Length of a mission."""
    slots_per_orbit: int = key(0, low=0, high=10_000)
    """0: from the period. ``ideal`` and ``sortie`` need it."""
    tle: tuple[str, ...] = ()
    omm_file: str = key("", quiet=True)
    """``omm``: an .xml, .json or .csv file with one object, relative to the scenario's file; read into ``omm``."""
    omm: Mapping[str, str] = key({}, quiet=True)
    """``omm``: the message's fields under their CCSDS names, each a text in quotes."""
    max_tle_age_days: float = key(30.0, above=0.0, high=1000.0)
    """Of two lines or an OMM, counted from ``start_utc``."""
    altitude_km: float = key(500.0, low=0.05, high=2000.0)
    eccentricity: float = key(0.0, low=0.0, high=0.2)
    inclination_deg: float = key(97.4, low=0.0, high=180.0)
    sun_synchronous: bool = False
    """Take the inclination whose node follows the Sun."""
    ltdn_h: float | None = key(None, low=0.0, high=24.0)
    """Local time of the descending node at the start; replaces ``raan_deg``."""
    raan_deg: float = key(0.0, low=-360.0, high=360.0)
    arg_perigee_deg: float = key(0.0, low=-360.0, high=360.0)
    mean_anomaly_deg: float = key(0.0, low=-360.0, high=360.0)
    drag_per_radius: float = key(0.0, low=0.0, high=1.0)
    """SGP4's B*."""
    latitude_deg: float = key(0.0, low=-90.0, high=90.0)
    """Take-off point of a sortie."""
    longitude_deg: float = key(0.0, low=-180.0, high=180.0)
    speed_m_s: float = key(18.0, above=0.0, high=400.0)
    """Of a sortie."""

    @property
    def perigee_km(self) -> float:
        """Height of the lowest point of the mean elements below; ``altitude_km`` is the semi-major axis'."""
        radius_km = EARTH_RADIUS_M / 1e3
        return (radius_km + self.altitude_km) * (1 - self.eccentricity) - radius_km


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSection:
    """Panels, battery and loads."""

    kind: str = key("physical", choices=("physical", "paper"))
    """``paper``: the budgets (3) to (7) of LEO-IISat; ``physical``: sunlight on panels, a battery that remembers."""
    panel_mount: str = key("body", choices=("body", "fixed", "one-axis", "tracking", "none"))
    """``body``: six faces, nadir pointing; ``fixed``: zenith; ``one-axis``: turned about the orbit normal;
    ``tracking``: to the Sun."""
    panel_m2: float = key(0.0, low=0.0, high=10_000.0)
    faces_m2: Mapping[str, float] = key({}, low=0.0, high=10_000.0)
    """Cell area of the faces ram, wake, nadir, zenith, north and south for ``body``."""
    cell_eff_frac: float = key(0.29, above=0.0, high=1.0)
    panel_health_frac: float = key(1.0, above=0.0, high=1.0)
    """Left of the cells' first output after ageing."""
    panel_temperature_frac: float = key(1.0, above=0.0, high=1.0)
    """Output at working temperature over output at 28 C."""
    conversion_eff_frac: float = key(1.0, above=0.0, high=1.0)
    """Of the power tracker between panel and bus."""
    peak_irradiance_w_m2: float = key(1361.0, above=0.0, high=2000.0)
    sunlit_frac: float = key(0.7, above=0.0, high=1.0)
    """``paper`` only: mu."""
    sigma_frac: float = key(0.183, above=0.0, high=1e6)
    """``paper`` only: width of the irradiance bell."""
    battery_wh: float = key(40.0, above=0.0, high=1e6)
    battery_health_frac: float = key(1.0, above=0.0, high=1.0)
    """Left of the first capacity after ageing."""
    initial_charge_min_frac: float = key(1.0, low=0.0, high=1.0)
    initial_charge_max_frac: float = key(1.0, low=0.0, high=1.0)
    reserve_frac: float = key(0.7, low=0.0, high=1.0)
    """Of the capacity: no decision may take the charge below it, now or before the next sunlight."""
    charge_eff_frac: float = key(0.95, above=0.0, high=1.0)
    discharge_eff_frac: float = key(0.95, above=0.0, high=1.0)
    max_charge_w: float = key(1e6, above=0.0, high=1e6)
    max_discharge_w: float = key(1e6, above=0.0, high=1e6)
    bus_w: float = key(0.0, low=0.0, high=1e6)
    """Attitude control, computer, receiver: always on."""
    eclipse_heater_w: float = key(0.0, low=0.0, high=1e6)
    bus_by_mode_w: Mapping[str, float] = key({}, low=0.0, high=1e6, quiet=True)
    """Other draws of the bus: ``eclipse`` and ``contact`` replace ``bus_w`` for the shadowed and the connected share
    of a slot by themselves (where both hold, their differences add up), any other name by ``bus_mode``."""
    bus_mode: str = key("nominal", quiet=True)
    """``nominal``, or a name of ``bus_by_mode_w`` (such as ``safe``) that holds for the whole mission, payload in
    standby."""
    payload_w: float = key(0.0, low=0.0, high=1e6, quiet=True)
    """The camera's, drawn while the ground below is bright enough for it."""
    payload_standby_w: float = key(0.0, low=0.0, high=1e6, quiet=True)
    """The camera's at other times."""
    idle_compute_w: float = key(0.0, low=0.0, high=1e6)
    """Of the compute module in its lowest power mode, always on."""
    idle_compute_by_mode_w: Mapping[str, float] = key({}, low=0.0, high=1e6, quiet=True)
    """Idle draw in each power mode of the pool, at least ``idle_compute_w``: a slot that works in a mode also draws
    the difference."""
    radio_w: float = key(0.0, low=0.0, high=1e6)
    """Drawn while in contact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalSection:
    """One thermal node for the compute module."""

    enabled: bool = False
    heat_capacity_j_k: float = key(400.0, above=0.0, high=1e7)
    conductance_w_k: float = key(0.4, above=0.0, high=1e5)
    """To the structure."""
    sunlit_sink_c: float = key(25.0, low=-150.0, high=150.0)
    eclipse_sink_c: float = key(0.0, low=-150.0, high=150.0)
    initial_c: float = key(20.0, low=-150.0, high=150.0)
    throttle_c: float = key(70.0, low=-150.0, high=200.0)
    """Above it the clock falls in a straight line to zero at the limit."""
    limit_c: float = key(85.0, low=-150.0, high=200.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """A kind of scenery: how many tiles it sends, what a right answer is worth, which classes are in it."""

    tile_per_s: float = key(0.0, low=0.0, high=1e7)
    swath_frac: float = key(0.0, low=0.0, high=10.0)
    """Tiles per tile that the camera's swath covers, beside ``tile_per_s``; below 1 where a pre-filter drops some."""
    share: float = key(1.0, low=0.0, high=1e6)
    """``patches`` only: how common this scenery is against the others."""
    value: float = key(1.0, low=0.0, high=1e6)
    queue: bool = True
    """Whether tiles left over wait for the next slot or are dropped."""
    classes: Mapping[str, float] = key({}, low=0.0, high=1.0)
    """Mix of true classes, shares that add up to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSection:
    """What arrives in each slot."""

    kind: str = key("ground-track", choices=("uniform", "ground-track", "patches", "trace"))
    """``uniform``: Poisson about a mean drawn per slot; ``ground-track``: Poisson by what lies below; ``trace``: a
    CSV."""
    tile_min: float = key(0.0, low=0.0, high=1e9)
    """``uniform`` only: range of the mean."""
    tile_max: float = key(0.0, low=0.0, high=1e9)
    covers: Mapping[str, Cover] = key({})
    patch_s: float = key(60.0, above=0.0, high=1e6)
    """``patches`` only: mean time over one patch of scenery."""
    field_of_view_deg: float = key(0.0, low=0.0, high=170.0)
    """Across track, for ``swath_frac``."""
    roll_deg: float = key(0.0, low=-80.0, high=80.0)
    """How far the camera looks to the side."""
    tile_edge_m: float = key(640.0, above=0.0, high=1e6)
    """Edge of a tile on the ground."""
    min_sun_elevation_deg: float = key(-90.0, low=-90.0, high=90.0)
    """Optical sensors: no tiles where the Sun stands lower at the sub-satellite point."""
    cloud_mean_frac: float = key(0.0, low=0.0, high=0.99)
    """Mean share of tiles that the pre-filter drops as cloud."""
    cloud_spread: float = key(1.0, above=0.0, high=1000.0)
    """Sum of the beta distribution's two shape numbers; small means all or nothing."""
    queue_max_tile: int = key(0, low=0, high=1_000_000_000)
    """Most tiles that wait for a later slot; the least valuable are shed first."""
    product_byte: float = key(32.0, low=0.0, high=1e9)
    """What one answer weighs on the link."""
    trace: str = ""
    """``trace`` only: CSV with the columns slot, cover, tile; a relative path starts at the scenario's file."""
    trace_sha256: str = ""
    """Hash of the trace, filled in on reading; where given, another trace is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSection:
    """The networks to choose from."""

    file: str = ""
    """Another TOML file that holds ``models``, beside this one or built in."""
    models: tuple[ModelProfile, ...] = ()
    draw: str = key("mean", choices=("mean", "slot"))
    """``slot``: accuracy, energy and time are drawn from their ranges anew in each slot."""
    batch: int = key(0, low=0, high=1_000_000, quiet=True)
    """Working batch: which of a model's ``profiles`` count; 0 where they have one."""
    precision: str = key("", quiet=True)
    """Which of a model's ``profiles`` count; empty where they have one."""
    modes: tuple[str, ...] = key((), quiet=True)
    """Power modes of ``profiles`` that become options; empty: all."""
    visible: bool = True
    """Whether a policy sees the draws before it chooses."""
    device: str = "device"
    device_min_w: float = key(0.1, low=0.0, high=1e6)
    device_max_w: float = key(60.0, above=0.0, high=1e6)
    """Power envelope of the compute module above idle."""
    allow_implausible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySection:
    """How choices are made."""

    name: str = "dqn"
    horizon_slots: int = key(32, low=1, high=1000)
    """How far ahead the forecasts reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StationSection:
    """One ground antenna."""

    latitude_deg: float = key(low=-90.0, high=90.0)
    longitude_deg: float = key(low=-180.0, high=180.0)
    altitude_m: float = key(0.0, low=-500.0, high=9000.0)
    mask_deg: float = key(5.0, low=0.0, high=89.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSection:
    """The downlink."""

    stations: Mapping[str, StationSection] = key({})
    rate_bps: float = key(1e6, low=0.0, high=1e12)
    """At 30 degrees of elevation and above."""
    low_rate_frac: float = key(1.0, above=0.0, high=1.0)
    """Share of the rate at the horizon; linear up to 30 degrees."""
    loss_frac: float = key(0.0, low=0.0, high=0.99)
    always_on: bool = False
    """In contact all the time (a UAV's link)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    """What no choice may break."""

    accuracy_floor_frac: float = key(0.0, low=0.0, high=1.0)
    may_idle: bool = True
    busy_max_frac: float = key(0.9, above=0.0, high=1.0)
    """Share of a slot that inference may take."""
    time_limited: bool = True
    """Off: a slot has time for any number of tiles (the paper's reading)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSection:
    """What a slot is worth."""

    kind: str = key("value", choices=("value", "paper"))
    unit_tile: float = key(10_000.0, above=0.0, high=1e9)
    """``value``: right answers of value 1 that make one unit of reward."""
    aee_weight: float = key(1.5, low=0.0, high=1e6)
    """``paper``: delta 1 of equation (19)."""
    margin_weight: float = key(10.0, low=0.0, high=1e6)
    """``paper``: delta 2 of equation (19)."""
    brownout_penalty: float = key(10.0, low=0.0, high=1e6)
