"""An answer about a tile as a product, the same for every task."""

from __future__ import annotations

from exporters.package import ModelPackage

from ..records import Footprint, Product, TileRef


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
