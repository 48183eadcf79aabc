"""Writes the formats that were asked for beside a replay's report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from ..durable import write_whole
from ..errors import MissionError
from ..report.model import ReplayReport
from .czml import czml
from .geojson import flight_geojson
from .tables import products_table, slots_table, write_csv, write_parquet


def check_formats(formats: Collection[str]) -> None:
    """Raise ``MissionError`` for an unknown format and ``ModuleNotFoundError`` where Parquet's library is not there."""
    if unknown := sorted(set(formats) - FORMATS.keys()):
        raise MissionError(f"there is no format {unknown[0]!r}. Use one of {', '.join(FORMATS)}.")
    if "parquet" in formats:
        import pyarrow.parquet  # noqa: F401


def write_exports(report: ReplayReport, formats: Collection[str], folder: Path) -> list[Path]:
    """Write each format of ``FORMATS`` into ``folder`` and return the files. Raises ``MissionError``."""
    return [path for name in FORMATS if name in formats for path in FORMATS[name](report, folder)]


def _czml(report: ReplayReport, folder: Path) -> list[Path]:
    return [_text(folder / "replay.czml", czml(report))]


def _geojson(report: ReplayReport, folder: Path) -> list[Path]:
    return [_text(folder / "replay.geojson", flight_geojson(report))]


def _csv(report: ReplayReport, folder: Path) -> list[Path]:
    write_csv(products_table(report), folder / "products.csv")
    return [folder / "products.csv"]


def _parquet(report: ReplayReport, folder: Path) -> list[Path]:
    write_parquet(slots_table(report), folder / "slots.parquet")
    write_parquet(products_table(report), folder / "products.parquet")
    return [folder / "slots.parquet", folder / "products.parquet"]


def _text(path: Path, text: str) -> Path:
    try:
        write_whole(path, text)
    except OSError as error:
        raise MissionError(f"cannot write {path}: {error.strerror or error}. Give another --out.") from error
    return path


FORMATS: Mapping[str, Callable[[ReplayReport, Path], list[Path]]] = {
    "czml": _czml,
    "geojson": _geojson,
    "csv": _csv,
    "parquet": _parquet,
}
"""``csv`` writes the products; ``slots.csv`` is always there."""
