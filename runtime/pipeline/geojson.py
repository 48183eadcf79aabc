"""Answers as GeoJSON features (RFC 7946), formatted straight into text: json.dumps would cost more than the cutting."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from exporters.package import PackageInfo

from ..georeference import geometry_of, rings_of
from ..georeference.rings import Float64Array, closed_rings
from ..records import Footprint

_POLYGON = '{"type": "Polygon", "coordinates": [[' + ", ".join(["[%.7f, %.7f]"] * 5) + "]]}"
_FEATURE = (
    '%s{"type": "Feature", "id": "%s", "geometry": %s, "properties": {"class": %s, "class_id": %d, "score": %r, '
    '"unsure": %s, %s, "seq": %d, "tile": [%d, %d], "px_bbox": [%.8g, %.8g, %.8g, %.8g]%s}}'
)


class FeatureWriter:
    """Writes the features of one scene into an open collection."""

    def __init__(self, file: TextIO, info: PackageInfo, product: str, captured_unix_s: float | None) -> None:
        self._file = file
        self._names = [json.dumps(name) for name in info.classes or (info.task,)]
        self._min_score = info.thresholds.min_score
        self._separator = "\n"
        self._seq = 0
        shared = {
            "product": product,
            "model_id": info.id,
            "model_version": info.version,
            "time": rfc3339(captured_unix_s),
        }
        self._shared = json.dumps(shared)[1:-1]

    def write(
        self,
        identity: str,
        geometry: str,
        class_id: int,
        score: float,
        tile_px: tuple[int, int],
        px_bbox: Sequence[float],
        error_m: float | None = None,
        energy_j: float | None = None,
        more: str = "",
    ) -> None:
        """One feature. ``tile_px``: row, column; ``px_bbox``: left, top, right, bottom; ``error_m``: of its place.

        ``energy_j``: of the tile; ``more``: further members as JSON text. ``seq`` counts the features of the file.
        """
        tail = "" if error_m is None else f', "loc_err_m": {error_m:.2f}'
        tail += "" if energy_j is None else f', "energy_j": {energy_j:.6g}'
        self._file.write(
            _FEATURE
            % (
                *(self._separator, identity, geometry, self._names[class_id], class_id, round(score, 6)),
                *("true" if score < self._min_score else "false", self._shared, self._seq, *tile_px, *px_bbox),
                tail + more,
            )
        )
        self._separator = ",\n"
        self._seq += 1


def geometry_texts(lon_deg: Float64Array, lat_deg: Float64Array) -> list[str]:
    """GeoJSON polygons, as text with seven decimals (a centimetre), of (n, 4) corners.

    The same as ``geometry_of(Footprint(ring_of(corners)))``, at a tenth of its cost away from antimeridian and poles.
    """
    rings = closed_rings(lon_deg, lat_deg)
    if rings is None:
        found = [geometry_of(Footprint(ring)) for ring in rings_of(lon_deg, lat_deg)]
        return [json.dumps(geometry) for geometry in found]
    return [_POLYGON % tuple(flat) for flat in rings.reshape(len(rings), -1).tolist()]


def rfc3339(unix_s: float | None) -> str | None:
    """UTC to the second, None where it is not known."""
    if unix_s is None or math.isnan(unix_s):
        return None
    return datetime.fromtimestamp(unix_s, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def properties_of(path: Path) -> Iterator[dict[str, Any]]:
    """Properties of a collection's features, one after the other: the writer puts each on a line of its own."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith('{"type": "Feature", '):
                yield json.loads(line.rstrip().rstrip(","))["properties"]
