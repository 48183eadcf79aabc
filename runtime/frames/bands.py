"""Band names: what a file calls its bands, and which of them a network asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import FrameError

RGB = ("red", "green", "blue")
GENERATED = "generated"
"""The band that marks, with anything but 0, pixels that a network made up."""
ROLE = ":"
"""Stands between a scene's role and its band's name in a stack: ``reference:red``."""
_NUMBERED = re.compile(r"band[ _-]?0*([1-9][0-9]*)")

# Sentinel-2 MSI names as in the ESA product specification; the common names are those of the STAC eo extension
_ALIASES = {
    "r": "red",
    "g": "green",
    "b": "blue",
    "a": "alpha",
    "near infrared": "nir",
    "near-infrared": "nir",
    "grey": "gray",
    "pan": "pan",
    "panchromatic": "pan",
    "b01": "coastal",
    "b02": "blue",
    "b03": "green",
    "b04": "red",
    "b05": "rededge1",
    "b06": "rededge2",
    "b07": "rededge3",
    "b08": "nir",
    "b8a": "nir08",
    "b09": "nir09",
    "b10": "cirrus",
    "b11": "swir16",
    "b12": "swir22",
}
_KNOWN = frozenset({*_ALIASES.values(), "vv", "vh", "hh", "hv", GENERATED})


def canonical_name(name: str) -> str:
    """The common name of a band: ``Red``, ``R`` and Sentinel-2's ``B4`` are all ``red``; others come back lower-case.

    >>> [canonical_name(name) for name in ("Red", "B4", "B04", "thermal")]
    ['red', 'red', 'red', 'thermal']
    """
    lower = name.strip().lower()
    if numbered := _NUMBERED.fullmatch(lower):
        return f"band_{numbered[1]}"
    padded = f"b0{lower[1]}" if len(lower) == 2 and lower[0] == "b" and lower[1].isdigit() else lower
    return _ALIASES.get(padded, lower)


def name_bands(descriptions: Sequence[str | None], interpretations: Sequence[str], dtype: str) -> tuple[str, ...]:
    """Name each band by its description if that is a known name, else by its colour interpretation.

    Three unnamed bands of uint8 are taken for red, green and blue.
    """
    names = []
    for number, (description, interpretation) in enumerate(zip(descriptions, interpretations, strict=True), start=1):
        described = canonical_name(description) if description else ""
        meant = interpretation if interpretation not in ("undefined", "gray", "palette") else ""
        names.append(described if described in _KNOWN else meant or described or f"band_{number}")
    if len(names) == 1 and interpretations[0] == "gray" and names == ["band_1"]:
        return ("gray",)
    if dtype == "uint8" and names == ["band_1", "band_2", "band_3"]:
        return RGB
    return tuple(names)


def choose_bands(have: Sequence[str], want: Sequence[str], frame_id: str) -> tuple[int, ...]:
    """Positions in ``have`` of the bands that a network wants. Raises ``FrameError`` if one is missing.

    Bands of a stack's further scenes are named ``role:band`` and answer to ``role_band``, to ``band`` where no other
    scene has it, and to ``role`` where the scene has no other band. A network that wants ``band_1`` to ``band_n`` wants
    a cube of exactly n bands.
    """
    names = _answering(have)
    cube = _cube(want)
    if cube:
        own = [at for at, name in enumerate(have) if ROLE not in name and name != "alpha"]
        if len(own) != cube:
            raise FrameError(
                f"{frame_id} has {len(own)} bands; the network takes cubes of {cube}. Give a cube with the bands "
                "that it was trained on."
            )
        names |= {f"band_{number}": at for number, at in enumerate(own, start=1)}
    missing = [name for name in want if canonical_name(name) not in names]
    if missing:
        lay = f"Lay the file that has it over this one (--with {missing[0]}=FILE). " if len(missing) == 1 else ""
        raise FrameError(
            f"{frame_id} has no band {_some(missing)}; its bands are {_some(have)}. {lay}"
            "Choose another scene, or name its bands in file order (--bands) if they are only unnamed."
        )
    return tuple(names[canonical_name(name)] for name in want)


def _answering(have: Sequence[str]) -> dict[str, int]:
    """Every name that a band answers to; one's own name goes before what others might be called."""
    names: dict[str, int] = {}
    plain: dict[str, list[int]] = {}
    roles: dict[str, list[int]] = {}
    for at, name in enumerate(have):
        role, sign, band = name.partition(ROLE)
        if not sign:
            names.setdefault(canonical_name(name), at)
            continue
        names.setdefault(f"{role}_{canonical_name(band)}", at)
        plain.setdefault(canonical_name(band), []).append(at)
        roles.setdefault(role, []).append(at)
    for single in (plain, roles):
        for name, places in single.items():
            if len(places) == 1:
                names.setdefault(name, places[0])
    return names


def _cube(want: Sequence[str]) -> int:
    """How many bands the cube has that a network wants by number; 0 for networks that want bands by name."""
    numbers = sorted(int(found[1]) for name in want if (found := _NUMBERED.fullmatch(name.lower())))
    return len(numbers) if len(numbers) > 1 and numbers == list(range(1, len(numbers) + 1)) else 0


def _some(names: Sequence[str], most: int = 16) -> str:
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
