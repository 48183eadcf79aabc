"""Products as a GeoJSON FeatureCollection (RFC 7946), written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from ..durable import whole
from ..errors import StoreError
from ..faults import fault
from ..georeference import geometry_of
from ..keepsakes import FILLED
from ..positions import POSITION, position_of
from ..records import Product
from ..strict_json import strict_json


def feature(product: Product, picture: str | None = None, values: str | None = None) -> dict[str, Any]:
    """One product as a feature; without a place its geometry is null, as section 3.2 allows.

    ``picture`` and ``values``: files that belong to it, relative to the map.
    """
    made = _feature(product)
    for name, file in (("picture", picture), ("values", values)):
        if file is not None:
            made["properties"][name] = file
    return made


def _feature(product: Product) -> dict[str, Any]:
    captured = datetime.fromtimestamp(product.captured_unix_s, tz=timezone.utc)
    return {
        "type": "Feature",
        "id": product.product_id,
        "geometry": geometry_of(product.footprint),
        "properties": {
            "label": product.label,
            "score": round(product.score, 6),
            "value": round(product.value, 6),
            "kind": product.kind,
            "slot": product.slot,
            "captured_utc": captured.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "frame_id": product.frame_id,
            "window_px": [product.row_px, product.col_px, product.edge_px],
            "package_id": product.package_id,
            "package_sha256": product.package_sha256,
            **_own(product),
        },
    }


def _own(product: Product) -> dict[str, float]:
    """What only products of one kind say: place and error of a position, the made-up share of a filled picture."""
    if product.kind == FILLED:
        return {"generated_frac": round(1.0 - product.score, 6)}
    if product.kind != POSITION or product.footprint is None:
        return {}
    longitude_deg, latitude_deg, error_m = position_of(product.footprint)
    return {
        "longitude_deg": round(longitude_deg, 7),
        "latitude_deg": round(latitude_deg, 7),
        "error_m": round(error_m, 2),
    }


def write_geojson(
    path: Path,
    products: Iterable[Product],
    picture_of: Callable[[Product], str | None] = lambda product: None,
    values_of: Callable[[Product], str | None] = lambda product: None,
) -> int:
    """Write ``products`` to ``path``, one feature a line, and return their number; a reader never sees half a file.

    ``picture_of`` says where a product's picture lies, relative to the map, where there is one; ``values_of`` where the
    values of its height map or anomaly scores do.
    """
    count = 0
    with shown(path) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for product in products:
            file.write(
                ("," if count else "")
                + "\n"
                + strict_json(feature(product, picture_of(product), values_of(product)), ensure_ascii=False)
            )
            count += 1
        file.write("\n]}\n")
    return count


@contextmanager
def shown(path: Path) -> Iterator[TextIO]:
    """A text file that people are shown as ``path`` once it is whole and durable. Raises ``StoreError``."""
    try:
        with whole(path, lambda: fault("ground.show.before_rename")) as file:
            text = TextIOWrapper(file, encoding="utf-8")
            try:
                yield text
            finally:
                text.detach()
        fault("ground.show.after_rename")
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error}. Free space, or choose another folder.") from error
