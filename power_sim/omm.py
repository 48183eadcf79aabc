"""Orbit Mean-Elements Messages (CCSDS 502.0-B): one object's fields out of an XML, JSON or CSV file."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path

from sgp4 import omm

from .errors import OrbitError

ELEMENTS = (
    "MEAN_MOTION", "ECCENTRICITY", "INCLINATION", "RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY", "BSTAR",
    "MEAN_MOTION_DOT", "MEAN_MOTION_DDOT",
)  # fmt: skip
"""Numbers that SGP4 cannot do without."""
OPTIONAL = {
    "OBJECT_ID": "2000-000A",
    "NORAD_CAT_ID": "0",
    "CLASSIFICATION_TYPE": "U",
    "EPHEMERIS_TYPE": "0",
    "ELEMENT_SET_NO": "0",
    "REV_AT_EPOCH": "0",
}
"""What SGP4's reader asks for and the orbit does not depend on."""
EXPECTED = {
    "CENTER_NAME": ("EARTH",),
    "REF_FRAME": ("TEME",),
    "TIME_SYSTEM": ("UTC",),
    "MEAN_ELEMENT_THEORY": ("SGP4", "SGP/SGP4"),
    "EPHEMERIS_TYPE": ("0", "2"),
}
"""What a message may say of its elements; anything else would need another propagator or frame."""


def load_omm(path: Path) -> dict[str, str]:
    """Return the fields of the one object in an OMM file; ``OrbitError`` names the file and what is wrong with it."""
    readers: dict[str, Callable[[str], list[dict[str, str]]]] = {".xml": _xml, ".json": _json, ".csv": _csv}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise OrbitError(f"{path.name}: an OMM ending in {path.suffix!r} is not known. Use .xml, .json or .csv.")
    try:
        objects = read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OrbitError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (ElementTree.ParseError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise OrbitError(
            f"{path.name} is not an OMM in {path.suffix[1:].upper()}: {error}. Download it again."
        ) from error
    if len(objects) != 1:
        raise OrbitError(f"{path.name}: holds {len(objects)} objects. Keep the one that flies.")
    return check_omm(objects[0], path.name)


def check_omm(fields: Mapping[str, str], source: str) -> dict[str, str]:
    """Return the fields, completed with what no orbit depends on; ``OrbitError`` for a frame or theory that is not
    SGP4's and for an element that is missing or no number."""
    for name, allowed in EXPECTED.items():
        if name in fields and fields[name].strip().upper() not in allowed:
            raise OrbitError(f"{source}: {name} = {fields[name]!r} is not SGP4's. It must be {' or '.join(allowed)}.")
    for name in ("EPOCH", *ELEMENTS):
        if not fields.get(name, "").strip():
            raise OrbitError(f"{source}: the OMM lacks {name}. Give every mean element and its epoch.")
    epoch = fields["EPOCH"].strip().removesuffix("Z")
    whole = epoch if "." in epoch else epoch + ".0"
    return {**OPTIONAL, **{name: text.strip() for name, text in fields.items()}, "EPOCH": whole}


def _xml(text: str) -> list[dict[str, str]]:
    return [{name: value or "" for name, value in fields.items()} for fields in omm.parse_xml(io.StringIO(text))]


def _csv(text: str) -> list[dict[str, str]]:
    return [{str(name): str(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))]


def _json(text: str) -> list[dict[str, str]]:
    rows = json.loads(text)
    listed = [rows] if isinstance(rows, dict) else rows
    return [{name: str(value) for name, value in row.items() if value is not None} for row in listed]
