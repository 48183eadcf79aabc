"""What all tasks share: how answers that are pixels are checked, and an answer about a tile as a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage, PackageInfo

from ..errors import EngineError
from ..georeference import Box, footprints
from ..records import FloatArray, Footprint, Product, TileOutcome, TileRef

if TYPE_CHECKING:
    from ..answers import ViewOf, When


def product_of(
    package: ModelPackage,
    ref: TileRef,
    *,
    product_id: str,
    kind: str,
    label: str,
    score: float,
    class_value: float,
    slot: int,
    captured_unix_s: float,
    place: Footprint | None,
) -> Product:
    """What ``package`` says of the tile ``ref``; ``class_value`` is what a right answer of its class is worth."""
    return Product(
        product_id=product_id,
        slot=slot,
        kind=kind,
        label=label,
        score=score,
        value=score * class_value,
        footprint=place,
        captured_unix_s=captured_unix_s,
        frame_id=ref.frame_id,
        row_px=ref.row_px,
        col_px=ref.col_px,
        edge_px=ref.edge_px,
        package_id=package.info.id,
        package_sha256=package.sha256,
        truth=ref.truth,
    )


def tile_products(
    package: ModelPackage,
    found: Sequence[tuple[TileRef, str, str, float]],
    *,
    kind: str,
    class_value: Mapping[str, float],
    view: ViewOf,
    when: When,
) -> list[Product]:
    """One product for each tile, identity, label and score of ``found``, where its tile lies."""
    places = tile_places([ref for ref, *_ in found], view)
    return [
        product_of(
            package,
            ref,
            product_id=identity,
            kind=kind,
            label=label,
            score=score,
            class_value=class_value.get(label, 1.0),
            slot=when.slot,
            captured_unix_s=when.captured_unix_s,
            place=place,
        )
        for (ref, identity, label, score), place in zip(found, places, strict=True)
    ]


def tile_places(refs: Sequence[TileRef], view: ViewOf) -> list[Footprint | None]:
    """Ground polygons of tiles of any frames; ``None`` where a frame has no place."""
    places: list[Footprint | None] = [None] * len(refs)
    for frame_id, rows in by_frame(refs).items():
        if (georeference := view(frame_id).georeference) is None:
            continue
        boxes = [Box(refs[row].row_px, refs[row].col_px, refs[row].edge_px, refs[row].edge_px) for row in rows]
        for row, place in zip(rows, footprints(georeference, boxes), strict=True):
            places[row] = place
    return places


def by_frame(refs: Sequence[TileRef]) -> dict[str, list[int]]:
    """Places in ``refs`` of the tiles of each frame."""
    rows: dict[str, list[int]] = {}
    for row, ref in enumerate(refs):
        rows.setdefault(ref.frame_id, []).append(row)
    return rows


def finite_outcomes(engine: str, info: PackageInfo, refs: Sequence[TileRef], raw: FloatArray) -> list[TileOutcome]:
    """How each tile of an answer of the package's fixed shape ended; one with NaN or Inf fails.

    Raises ``EngineError`` for answers of another shape.
    """
    expected = (len(refs), *info.answer_shape)
    if raw.shape != expected:
        raise EngineError(f"{engine} answered {raw.shape}, expected {expected}. Export it again.")
    sound: NDArray[np.bool_] = np.all(np.isfinite(raw.reshape(len(refs), -1)), axis=1)
    return [
        TileOutcome(ref, "done") if good else TileOutcome(ref, "failed", f"{info.id} answered NaN or Inf")
        for ref, good in zip(refs, sound.tolist(), strict=True)
    ]
