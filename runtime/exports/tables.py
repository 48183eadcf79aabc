"""Slots and products as tables: CSV with the standard library, Parquet with pyarrow (an optional extra)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import MissionError
from ..records import SlotRecord
from ..report.model import Finding, ReplayReport
from ..strict_json import finite

Cell = str | int | float | bool | None
_KINDS = {"int": "int64", "float": "double", "str": "string", "bool": "bool"}


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length by name, and what each holds: ``int64``, ``double``, ``string`` or ``bool``."""

    columns: Mapping[str, Sequence[Cell]]
    kinds: Mapping[str, str]


def slots_table(report: ReplayReport) -> Table:
    """Return one row per slot, with the fields of ``slots.csv``; a number that is not known is empty."""
    names = {item.name: _KINDS[str(item.type)] for item in fields(SlotRecord)}
    return Table({name: [finite(getattr(slot, name)) for slot in report.slots] for name in names}, names)


def products_table(report: ReplayReport) -> Table:
    """Return one row per answer; its place is the middle of its footprint."""
    middles = [_middle(one) for one in report.products]
    many = report.products
    columns: dict[str, Sequence[Cell]] = {
        "slot": [one.slot for one in many],
        "label": [one.label for one in many],
        "truth": [one.truth for one in many],
        "score": [finite(one.score) for one in many],
        "value": [finite(one.value) for one in many],
        "frame_id": [one.frame_id for one in many],
        "longitude_deg": [x for x, _ in middles],
        "latitude_deg": [y for _, y in middles],
        "sent_in_slot": [one.sent_in_slot for one in many],
        "delivered": [one.delivered for one in many],
    }
    kinds = dict(zip(columns, ("int64", "string", "string", "double", "double", "string"), strict=False))
    return Table(
        columns,
        kinds | {"longitude_deg": "double", "latitude_deg": "double", "sent_in_slot": "int64", "delivered": "bool"},
    )


def write_csv(table: Table, path: Path) -> None:
    """Write RFC 4180 with a header line; an unknown value is an empty field. Raises ``MissionError``."""
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(table.columns)
            writer.writerows(zip(*table.columns.values(), strict=True))
    except OSError as error:
        raise MissionError(f"cannot write {path}: {error.strerror or error}. Give another --out.") from error


def write_parquet(table: Table, path: Path) -> None:
    """Write Parquet with typed columns and nulls. Raises ``MissionError``; ``ModuleNotFoundError`` without pyarrow."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    types = {"int64": arrow.int64(), "double": arrow.float64(), "string": arrow.string(), "bool": arrow.bool_()}
    schema = arrow.schema([(name, types[kind]) for name, kind in table.kinds.items()])
    try:
        parquet.write_table(arrow.table({name: list(column) for name, column in table.columns.items()}, schema), path)
    except OSError as error:
        raise MissionError(f"cannot write {path}: {error}. Give another --out.") from error


def _middle(one: Finding) -> tuple[float | None, float | None]:
    corners = one.ring_deg[:-1]
    if not corners:
        return None, None
    return sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)
