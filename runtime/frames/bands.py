"""Band names: what a file calls its bands, and which of them a network asks for."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import FrameError

RGB = ("red", "green", "blue")

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
_KNOWN = frozenset(_ALIASES.values())


def canonical_name(name: str) -> str:
    """The common name of a band: ``Red``, ``R`` and Sentinel-2's ``B4`` are all ``red``; others come back lower-case.

    >>> [canonical_name(name) for name in ("Red", "B4", "B04", "thermal")]
    ['red', 'red', 'red', 'thermal']
    """
    lower = name.strip().lower()
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
    """Positions in ``have`` of the bands that a network wants. Raises ``FrameError`` if one is missing."""
    names = [canonical_name(name) for name in have]
    missing = [name for name in want if canonical_name(name) not in names]
    if missing:
        raise FrameError(
            f"{frame_id} has no band {', '.join(missing)}; its bands are {', '.join(have)}. "
            "Choose another scene, or name its bands if they are only unnamed."
        )
    return tuple(names.index(canonical_name(name)) for name in want)
