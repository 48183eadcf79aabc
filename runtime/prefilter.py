"""Cheap looks at a tile before a network sees it: each says why the tile is not worth its joules, or nothing.

Pixels are 0..255 for 0..1 of the frame's value range. The cloud test reads them as reflectance: it means what it says
where the range is that of reflectance (Sentinel-2: 0 to 10000), and is a rough guess on stretched pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import FrameError
from .frame import BoolArray, Patch
from .frames.bands import canonical_name, choose_bands
from .records import FloatArray
from .tiles import Filter, skip_empty

Bands = Mapping[str, FloatArray]
"""(rows, cols) float32, 0..1, by the band's common name."""
_DARK_FRAC = 10 / 255
_CLOUD_MEAN = 0.3


@dataclass(frozen=True, slots=True)
class Test:
    """Marks pixels of one kind. ``bands``: what it must see beside what the network sees."""

    name: str
    bands: tuple[str, ...]
    marks: Callable[[Bands], BoolArray]


def dark(bands: Bands) -> BoolArray:
    """Pixels that are nearly black in every band: night, deep shadow, a closed shutter."""
    darkest: BoolArray = np.max(list(bands.values()), axis=0) < _DARK_FRAC
    return darkest


def cloud(bands: Bands) -> BoolArray:
    """Bright, white and hazy: the whiteness and HOT tests of Fmask (Zhu and Woodcock 2012, equations 2 and 3).

    Snow and bright roofs pass them too.
    """
    red, green, blue = bands["red"], bands["green"], bands["blue"]
    mean = (red + green + blue) / 3
    whiteness = (abs(red - mean) + abs(green - mean) + abs(blue - mean)) / np.maximum(mean, 1e-6)
    cloudy: BoolArray = (whiteness < 0.7) & (blue - 0.5 * red > 0.08) & (mean > _CLOUD_MEAN)
    return cloudy


def water(bands: Bands) -> BoolArray:
    """Open water: NDWI above zero (McFeeters 1996)."""
    wet: BoolArray = bands["green"] > bands["nir"]
    return wet


TESTS = {
    "dark": Test("dark", (), dark),
    "cloud": Test("cloud", ("red", "green", "blue"), cloud),
    "water": Test("water", ("green", "nir"), water),
}


NODATA = "nodata"
SKIPS = (NODATA, *sorted(TESTS))
"""Names that ``screen`` knows; the first is always on, and naming it says from which share."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What to read beside the network's bands, and the filter that judges both together."""

    beside: tuple[int, ...]
    """Positions in the frame's bands."""
    keep: Filter


def screen(
    skip: Mapping[str, float],
    network: Sequence[str],
    have: Sequence[str],
    frame_id: str,
    *,
    min_valid_frac: float = 0.5,
) -> Screen:
    """A filter that sheds tiles without data, and those of which more than ``skip[NAME]`` is dark, cloud or water.

    ``min_valid_frac``: less of a tile than this, and it is one without data; ``skip["nodata"]`` overrules it.

    ``network`` and ``have`` are the bands that the network wants and the frame has. Raises ``FrameError`` for a test
    that does not exist or a band that the frame lacks.
    """
    if unknown := sorted(skip.keys() - set(SKIPS)):
        raise FrameError(f"There is no pre-filter {', '.join(unknown)}. Use {', '.join(SKIPS)}.")
    if wrong := {name: share for name, share in skip.items() if not 0.0 < share <= 1.0}:
        raise FrameError(f"The shares {wrong} of pre-filters are none. Give values above 0 and up to 1, such as 0.9.")
    empty = skip_empty(1.0 - skip[NODATA] if NODATA in skip else min_valid_frac)
    skip = {name: share for name, share in skip.items() if name != NODATA}
    names = [canonical_name(name) for name in network]
    extra = tuple(dict.fromkeys(band for name in skip for band in TESTS[name].bands if band not in names))
    beside = choose_bands(have, extra, frame_id)
    if not skip:
        return Screen((), empty)
    tests = [(TESTS[name], share) for name, share in skip.items()]

    def keep(patch: Patch) -> str:
        return empty(patch) or _found(patch, [*names, *extra], tests)

    return Screen(beside, keep)


def parse_skip(text: str) -> dict[str, float]:
    """``dark,cloud=0.8`` as shares by name; 0.9 where none is given. Raises ``FrameError``."""
    shares = {}
    for part in filter(None, text.split(",")):
        name, _, share = part.strip().partition("=")
        try:
            shares[name] = float(share or 0.9)
        except ValueError as error:
            raise FrameError(f"{part!r} is no pre-filter. Write NAME or NAME=SHARE, such as cloud=0.8.") from error
    return shares


def _found(patch: Patch, names: Sequence[str], tests: Sequence[tuple[Test, float]]) -> str:
    bands = {name: band.astype(np.float32) / 255 for name, band in zip(names, patch.pixels, strict=True)}
    for test, limit in tests:
        marked = test.marks(bands)
        share = float(marked.mean() if patch.valid is None else marked[patch.valid].mean())
        if share > limit:
            return f"{test.name}: more than {limit:.0%} of it"
    return ""
