"""The published mean elements that an ``[orbit]`` section holds: a two-line set or an Orbit Mean-Elements Message."""

from __future__ import annotations

from sgp4.api import Satrec

from .constants import DAY_S
from .errors import OrbitError
from .frames import unix_from_utc
from .orbit import epoch_unix_s, read_omm, read_tle, refuse_below_ground
from .sections import OrbitSection

PUBLISHED = ("tle", "omm")
"""Kinds of orbit whose elements have an epoch of their own."""


def elements_of(orbit: OrbitSection, source: str) -> Satrec:
    """Return SGP4's record of a section whose kind is in ``PUBLISHED``, whatever its age; ``OrbitError`` where it is
    malformed or below ground."""
    where = f"{source}: orbit.{orbit.kind}"
    if orbit.kind == "tle" and len(orbit.tle) != 2:
        raise OrbitError(f"{where} has {len(orbit.tle)} lines. Give the two lines of one element set.")
    record = read_omm(orbit.omm, where) if orbit.kind == "omm" else read_tle(orbit.tle[0], orbit.tle[1], where)
    refuse_below_ground(record, where)
    return record


def refuse_stale(orbit: OrbitSection, source: str) -> None:
    """Raise ``OrbitError`` where the elements are further from ``start_utc`` than ``max_tle_age_days``."""
    age_days = abs(unix_from_utc(orbit.start_utc) - epoch_unix_s(elements_of(orbit, source))) / DAY_S
    if age_days > orbit.max_tle_age_days:
        raise OrbitError(
            f"{source}: orbit.{orbit.kind} is {age_days:.0f} days from start_utc = {orbit.start_utc}, more than "
            f"max_tle_age_days = {orbit.max_tle_age_days:g}. Use newer elements or another start."
        )
