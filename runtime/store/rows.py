"""Records as rows and back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from ..records import Footprint, Product, SlotRecord, TileOutcome
from ..wire.payload import size_byte

PRODUCT_COLUMNS = (
    "product_id, slot, kind, label, score, value, footprint, captured_unix_s, "
    "frame_id, row_px, col_px, edge_px, package_id, package_sha256, truth"
)
_BLANK: dict[str, Any] = {"int": 0, "float": math.nan, "str": "", "bool": False}


def product_row(product: Product) -> tuple[object, ...]:
    """The columns of ``PRODUCT_COLUMNS``, then its size and its rank: value per byte."""
    footprint = None if product.footprint is None else json.dumps(product.footprint.ring_deg)
    size = size_byte(product)
    return (
        product.product_id,
        int(product.slot),
        product.kind,
        product.label,
        float(product.score),
        float(product.value),
        footprint,
        float(product.captured_unix_s),
        product.frame_id,
        int(product.row_px),
        int(product.col_px),
        int(product.edge_px),
        product.package_id,
        product.package_sha256,
        product.truth,
        size,
        float(product.value) / size,
    )


def product_from_row(row: tuple[Any, ...]) -> Product:
    """The product of a row of ``PRODUCT_COLUMNS``."""
    footprint = None if row[6] is None else Footprint(tuple((lon, lat) for lon, lat in json.loads(row[6])))
    columns: list[Any] = [*row[:6], footprint, *row[7:]]
    return Product(*columns)


def tile_row(slot: int, outcome: TileOutcome) -> tuple[object, ...]:
    """The columns of ``tiles``."""
    ref = outcome.ref
    return slot, ref.frame_id, int(ref.row_px), int(ref.col_px), int(ref.edge_px), outcome.outcome, outcome.reason


def decision_text(record: SlotRecord) -> str:
    """A slot's record as strict JSON: a number that is not finite becomes null."""
    plain = {name: _plain(value) for name, value in asdict(record).items()}
    return json.dumps(plain, allow_nan=False, separators=(",", ":"))


def decision_from_text(text: str) -> SlotRecord:
    """The record in ``text``; fields that its writer did not know are blank."""
    stored = json.loads(text)
    found = {field.name: stored.get(field.name) for field in fields(SlotRecord)}
    return SlotRecord(
        **{
            field.name: _BLANK[str(field.type)] if (value := found[field.name]) is None else value
            for field in fields(SlotRecord)
        }
    )


def _plain(value: object) -> object:
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number
