"""What was received as a static STAC 1.0 catalog: a collection, and one item for each frame that answers came from."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..records import Product
from ..strict_json import strict_json
from .geojson import shown

VERSION = "1.0.0"


@dataclass(slots=True)
class _Frame:
    """What is known of one frame."""

    west: float = 180.0
    south: float = 90.0
    east: float = -180.0
    north: float = -90.0
    first_s: float = float("inf")
    last_s: float = float("-inf")
    labels: Counter[str] = field(default_factory=Counter)
    packages: set[tuple[str, str]] = field(default_factory=set)

    def add(self, product: Product) -> None:
        for lon, lat in product.footprint.ring_deg if product.footprint else ():
            self.west, self.east = min(self.west, lon), max(self.east, lon)
            self.south, self.north = min(self.south, lat), max(self.north, lat)
        self.first_s = min(self.first_s, product.captured_unix_s)
        self.last_s = max(self.last_s, product.captured_unix_s)
        self.labels[product.label] += 1
        self.packages.add((product.package_id, product.package_sha256))

    @property
    def bbox(self) -> list[float] | None:
        """West, south, east, north; None where no product has a place."""
        return [self.west, self.south, self.east, self.north] if self.west <= self.east else None


def write_stac(folder: Path, products: Iterable[Product]) -> int:
    """Write ``collection.json`` and ``items/*.json`` into ``folder``; return the number of items.

    Each file appears whole or not at all. Raises StoreError where the folder cannot be written.
    """
    frames: dict[str, _Frame] = {}
    for product in products:
        frames.setdefault(product.frame_id, _Frame()).add(product)
    names = {frame_id: item_name(frame_id) for frame_id in sorted(frames)}
    try:
        (folder / "items").mkdir(parents=True, exist_ok=True)
        for frame_id, name in names.items():
            _write(folder / "items" / f"{name}.json", _item(frame_id, name, frames[frame_id]))
        _write(folder / "collection.json", _collection(frames, list(names.values())))
    except OSError as error:
        raise StoreError(f"Cannot write {folder}: {error}. Free space, or choose another folder.") from error
    return len(names)


def item_name(frame_id: str) -> str:
    """A file name for a frame, whatever it is called on board.

    >>> item_name("mosaic-1"), item_name("../../etc/passwd")
    ('mosaic-1', 'etc-passwd-3754d6cb')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", frame_id).strip("-")[:80]
    if plain == frame_id:
        return plain
    return f"{plain}-{hashlib.sha256(frame_id.encode()).hexdigest()[:8]}".strip("-")


def _item(frame_id: str, name: str, frame: _Frame) -> dict[str, Any]:
    bbox = frame.bbox
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": VERSION,
        "id": name,
        "collection": "subsolar-products",
        "geometry": None if bbox is None else {"type": "Polygon", "coordinates": [_ring(bbox)]},
        "properties": {
            "datetime": None,
            "start_datetime": _utc(frame.first_s),
            "end_datetime": _utc(frame.last_s),
            "title": frame_id,
            "subsolar:labels": dict(sorted(frame.labels.items())),
            "subsolar:packages": [{"id": one, "sha256": sha256} for one, sha256 in sorted(frame.packages)],
        },
        "links": [
            {"rel": "root", "href": "../collection.json", "type": "application/json"},
            {"rel": "collection", "href": "../collection.json", "type": "application/json"},
        ],
        "assets": {"products": {"href": "../../products.geojson", "type": "application/geo+json", "roles": ["data"]}},
    }
    if bbox is not None:
        item["bbox"] = bbox
    return item


def _collection(frames: dict[str, _Frame], names: list[str]) -> dict[str, Any]:
    boxes = [box for frame in frames.values() if (box := frame.bbox) is not None] or [[-180.0, -90.0, 180.0, 90.0]]
    west, south, east, north = zip(*boxes, strict=True)
    whole = [min(west), min(south), max(east), max(north)]
    times: list[str | None] = [None, None]
    if frames:
        times = [_utc(min(one.first_s for one in frames.values())), _utc(max(one.last_s for one in frames.values()))]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "id": "subsolar-products",
        "description": "Answers inferred on board and received on the ground.",
        "license": "proprietary",
        "extent": {"spatial": {"bbox": [whole]}, "temporal": {"interval": [times]}},
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *({"rel": "item", "href": f"./items/{name}.json", "type": "application/geo+json"} for name in names),
        ],
    }


def _ring(bbox: list[float]) -> list[list[float]]:
    west, south, east, north = bbox
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _utc(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, tz=timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(path: Path, content: dict[str, Any]) -> None:
    with shown(path) as file:
        file.write(strict_json(content, indent=1) + "\n")
