"""Physical constants, each with its source."""

from __future__ import annotations

EARTH_GM_M3_S2 = 3.986004418e14
"""WGS 84 gravitational parameter, atmosphere included."""
EARTH_RADIUS_M = 6_378_137.0
"""WGS 84 equatorial radius."""
EARTH_FLATTENING = 1 / 298.257223563
"""WGS 84."""
EARTH_J2 = 1.08262668e-3
"""EGM 96 second zonal harmonic."""
EARTH_MEAN_RADIUS_M = 6_371_008.8
"""IUGG mean radius."""
SUN_RADIUS_M = 695_700_000.0
"""IAU 2015 nominal solar radius."""
ASTRONOMICAL_UNIT_M = 149_597_870_700.0
"""IAU 2012."""
SOLAR_IRRADIANCE_W_M2 = 1361.0
"""Total solar irradiance at one astronomical unit (IAU 2015 nominal value)."""
UNIX_EPOCH_JD = 2_440_587.5
J2000_JD = 2_451_545.0
DAY_S = 86_400.0
TT_MINUS_UTC_S = 69.184
"""Since 2017; one second of error moves the Sun by 0.04 arc seconds."""
SUN_RATE_RAD_S = 1.99099e-7
"""Mean motion of the Sun along the equinox of date, for Sun-synchronous orbits."""
