"""What ``subsolar gallery`` and ``subsolar locate`` do between the command line and the libraries."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from exporters.gallery.build import Plan, batched, build_gallery
from exporters.gallery.gallery import Gallery
from exporters.gallery.sight import Sight
from exporters.package import ModelPackage

from .engines import open_engine
from .errors import MissionError
from .locate import check_encoder, embed_tiles, read_picture, sight_for, temperature_of
from .records import UInt8Array

_SIGHT = ("gsd_m", "height_m", "focal_px", "heading_deg", "tilt_deg")
_MOTION = ("east_m", "north_m")


@dataclass(frozen=True, slots=True)
class LogRow:
    """What a flight log says of one picture. ``moved_m``: east and north since the one before."""

    sight: Mapping[str, float] = field(default_factory=dict)
    moved_m: tuple[float, float] | None = None


def build_for(
    package: ModelPackage,
    scenes: Sequence[Path],
    *,
    tile_m: float | None,
    step_m: float | None,
    crs: str | None,
    headings: int = 1,
    tilts_deg: tuple[float, ...] = (),
    heights: Path | None = None,
    calibrate: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> Gallery:
    """The gallery of ``scenes`` by a package's encoder. Raises ``MissionError`` or ``DatasetError``."""
    check_encoder(package)
    temperature, own_m = temperature_of(package)
    side_m = tile_m or own_m
    if side_m is None:
        raise MissionError(
            f"{package.info.id} does not say how much ground a tile covers. Give it with --tile, in metres."
        )
    plan = Plan(
        package=package.info.id,
        package_sha256=package.sha256,
        edge_px=package.info.input.tile_edge_px,
        tile_m=side_m,
        step_m=step_m or side_m / 4,
        temperature=temperature,
        crs=crs,
        headings=headings,
        tilts_deg=tilts_deg,
        heights=heights,
    )
    with closing(open_engine(package)) as engine:
        embed = batched(embed_tiles(engine, package), min(32, package.info.input.max_batch))
        return build_gallery(embed, plan, scenes, calibrate=calibrate, progress=progress)


def read_log(path: Path | None, images: Sequence[Path]) -> list[LogRow]:
    """One row an image: a CSV with ``image`` (its file name) and any of the columns of a sight and a motion.

    Raises ``MissionError`` for an unknown column, a value that is no number, or an image that is not in it.
    """
    if path is None:
        return [LogRow() for _ in images]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MissionError(f"The log {path} cannot be read: {error}. Give a CSV with a column image.") from error
    known = {"image", *_SIGHT, *_MOTION}
    if not rows or "image" not in rows[0] or (set(rows[0]) - known):
        extra = sorted(str(key) for key in (set(rows[0]) if rows else set()) - known)
        raise MissionError(
            f"The log {path} has no rows, no column image, or unknown ones {extra}. Use {sorted(known)}."
        )
    by_name = {str(row["image"]): row for row in rows}
    missing = [image.name for image in images if image.name not in by_name]
    if missing:
        raise MissionError(f"The log {path} lacks {len(missing)} images, the first {missing[0]!r}. Add them.")
    return [_log_row(path, by_name[image.name]) for image in images]


def pictures(
    images: Sequence[Path], told: Mapping[str, float | None], rows: Sequence[LogRow]
) -> Iterator[tuple[str, UInt8Array, Sight]]:
    """Each image with how it was taken: what the log says goes over what was told, and that over the file itself.

    Read one by one, so that one is in memory at a time. Raises ``FrameError`` or ``MissionError``.
    """
    for path, row in zip(images, rows, strict=True):
        pixels, own_m = read_picture(path)
        known = {**told, **row.sight}
        tilt_deg, heading_deg = known["tilt_deg"], known["heading_deg"]
        sight = sight_for(
            known["gsd_m"] or own_m,
            height_m=known["height_m"],
            focal_px=known["focal_px"],
            heading_deg=heading_deg or 0.0,
            tilt_deg=90.0 if tilt_deg is None else tilt_deg,
        )
        yield path.name, pixels, sight


def _log_row(path: Path, row: Mapping[str, str]) -> LogRow:
    values = {}
    for key in (*_SIGHT, *_MOTION):
        text = (row.get(key) or "").strip()
        if not text:
            continue
        try:
            values[key] = float(text)
        except ValueError:
            values[key] = math.nan
        if not math.isfinite(values[key]):
            raise MissionError(f"The log {path}: {key} of {row['image']} is {text!r}, no number. Correct it.")
    if (_MOTION[0] in values) != (_MOTION[1] in values):
        raise MissionError(f"The log {path}: {row['image']} has only one of {_MOTION}. Give both or none.")
    moved_m = (values[_MOTION[0]], values[_MOTION[1]]) if _MOTION[0] in values else None
    return LogRow({key: value for key, value in values.items() if key in _SIGHT}, moved_m)
