"""A flight in the formats of other people's tools: CZML for CesiumJS, GeoJSON, CSV and Parquet."""

from __future__ import annotations

from .czml import czml
from .geojson import flight_geojson
from .tables import Table, products_table, slots_table, write_csv, write_parquet
from .write import FORMATS, check_formats, write_exports

__all__ = [
    "FORMATS",
    "Table",
    "check_formats",
    "czml",
    "flight_geojson",
    "products_table",
    "slots_table",
    "write_csv",
    "write_exports",
    "write_parquet",
]
