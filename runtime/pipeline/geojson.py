"""Answers as GeoJSON features (RFC 7946), formatted straight into text: json.dumps would cost more than the cutting."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TextIO

from exporters.package import PackageInfo

from ..georeference import geometry_of
from ..records import Footprint

_POLYGON = '{"type": "Polygon", "coordinates": [[' + ", ".join(["[%.7f, %.7f]"] * 5) + "]]}"
_FEATURE = (
    '{{"type": "Feature", "id": "{}", "geometry": {}, "properties": {{"class": {}, "class_id": {}, "score": {}, '
    '"unsure": {}, {}, "tile": [{}, {}], "px_bbox": [{}]{}}}}}'
)


class FeatureWriter:
    """Writes the features of one scene into an open collection."""

    def __init__(self, file: TextIO, info: PackageInfo, product: str, captured_unix_s: float | None) -> None:
        self._file = file
        self._names = [json.dumps(name) for name in info.classes]
        self._min_score = info.thresholds.min_score
        self._separator = "\n"
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
        footprint: Footprint | None,
        class_id: int,
        score: float,
        tile_px: tuple[int, int],
        px_bbox: Sequence[float],
        error_m: float | None = None,
    ) -> None:
        """One feature. ``tile_px``: row, column; ``px_bbox``: left, top, right, bottom; ``error_m``: of its place."""
        self._file.write(
            self._separator
            + _FEATURE.format(
                identity,
                geometry_text(footprint),
                self._names[class_id],
                class_id,
                repr(round(score, 6)),
                "true" if score < self._min_score else "false",
                self._shared,
                *tile_px,
                ", ".join(f"{side:g}" if side == int(side) else f"{side:.2f}" for side in px_bbox),
                "" if error_m is None else f', "loc_err_m": {error_m:.2f}',
            )
        )
        self._separator = ",\n"


def geometry_text(footprint: Footprint | None) -> str:
    """``geometry_of`` as JSON text with seven decimals: a centimetre."""
    if footprint is None:
        return "null"
    ring = footprint.ring_deg
    if len(ring) == 5 and all(-180.0 <= lon <= 180.0 for lon, _ in ring):
        return _POLYGON % tuple(value for corner in ring for value in corner)
    return json.dumps(geometry_of(footprint))


def rfc3339(unix_s: float | None) -> str | None:
    """UTC to the second, None where it is not known."""
    if unix_s is None or math.isnan(unix_s):
        return None
    return datetime.fromtimestamp(unix_s, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
