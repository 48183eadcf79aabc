"""A picture of a scene with what was found drawn into it: boxes, labels, a mask's classes, a map's heat."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.package import PackageInfo

from ..errors import StoreError
from ..frame import Patch
from ..frames import RGB, RasterFrame, Stack
from ..frames.bands import canonical_name
from ..gdal import gdal_errors, one_line
from ..georeference import Box
from ..records import FloatArray, UInt8Array
from ..tiles import tile_grid
from .drawing import COLOURS, Colour, heat, outline, wash, words, write_words
from .files import whole_path
from .geojson import properties_of

LONGEST_PX = 1600
_READABLE_PX = 1000
"""Scenes are enlarged as often as they fit into this."""
_MOST_WORDS = 400
"""Words beside more boxes than this hide the picture; those of labels stay within their tiles."""
_DARKER = 0.62
_LOW_PERCENT, _HIGH_PERCENT = 2.0, 98.0


def write_preview(
    path: Path, frame: RasterFrame | Stack, info: PackageInfo, answers: Path, overlap_px: int = 0
) -> None:
    """Draw what ``answers`` says of ``frame`` into a PNG of at most 1600 px a side. Raises ``StoreError``.

    ``overlap_px``: of the tiles, so that a label stands on the part of its tile that it alone answers for.
    """
    shrink = min(1.0, LONGEST_PX / max(frame.width_px, frame.height_px))
    rows, cols = max(1, round(frame.height_px * shrink)), max(1, round(frame.width_px * shrink))
    restored = info.output.kind == "image"
    picture = _of_file(answers, rows, cols) if restored else _of_frame(frame, rows, cols)
    if (grown := _READABLE_PX // max(rows, cols)) > 1:  # words need room in a small scene
        picture, shrink = picture.repeat(grown, axis=0).repeat(grown, axis=1), shrink * grown
    if info.output.kind == "mask":
        _draw_mask(picture, answers, info.classes)
    elif info.output.kind == "map":
        _draw_map(picture, answers, info.output.unit)
        if (found := answers.with_suffix(".geojson")).is_file():
            _draw_features(picture, found, shrink)
    elif answers.suffix == ".geojson":
        grid = tile_grid(frame.width_px, frame.height_px, info.input.tile_edge_px, overlap_px)
        cores = {(window.ref.row_px, window.ref.col_px): window.core for window in grid}
        _draw_features(picture, answers, shrink, cores)
    write_png(path, picture)


def write_png(path: Path, picture: UInt8Array) -> None:
    """Write (rows, cols, 3) as a PNG, whole or not at all. Raises ``StoreError``."""
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.io import MemoryFile

    rows, cols = picture.shape[:2]
    try:
        with MemoryFile() as memory, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture needs no place
            with memory.open(driver="PNG", height=rows, width=cols, count=3, dtype="uint8") as out:
                out.write(np.ascontiguousarray(picture.transpose(2, 0, 1)))
            content = bytes(memory.read())
        with whole_path(path) as unfinished:
            unfinished.write_bytes(content)
    except gdal_errors() as error:
        raise StoreError(f"{path} cannot be written: {one_line(error)}. Make room or choose another.") from error


def _of_frame(frame: RasterFrame | Stack, rows: int, cols: int) -> UInt8Array:
    scene = frame.first if isinstance(frame, Stack) else frame
    return _shown(scene.small(_shown_bands(scene.bands), rows, cols))


def _shown_bands(names: Sequence[str]) -> list[int]:
    """Red, green and blue where a scene has them; else three bands spread over a cube, or the first one."""
    known = [canonical_name(name) for name in names]
    if all(name in known for name in RGB):
        return [known.index(name) for name in RGB]
    count = len([name for name in known if name != "alpha"])
    return [0] * 3 if count < 3 else [count * 5 // 6, count // 2, count // 6]


def _shown(patch: Patch) -> UInt8Array:
    """(rows, cols, 3) uint8: bytes as they are, physical values stretched; what holds no data is black."""
    pixels = patch.pixels
    if pixels.dtype != np.uint8:
        pixels = np.stack([_levels(band) for band in pixels])
    picture = np.array(pixels.transpose(1, 2, 0), dtype=np.uint8)
    if patch.valid is not None:
        picture[~patch.valid] = 0
    return picture


def _levels(band: NDArray[Any]) -> UInt8Array:
    known = band[np.isfinite(band)]
    if not len(known):
        return np.zeros(band.shape, dtype=np.uint8)
    low, high = np.percentile(known, [_LOW_PERCENT, _HIGH_PERCENT])
    scaled = (np.nan_to_num(band, nan=low) - low) * (255.0 / max(high - low, 1e-12))
    levels: UInt8Array = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return levels


def _of_file(path: Path, rows: int, cols: int) -> UInt8Array:
    """A restored picture by itself."""
    from ..frames import open_frame

    with open_frame(path) as restored:
        return _shown(restored.small(_shown_bands(restored.bands), rows, cols))


def _read_small(path: Path, picture: UInt8Array) -> FloatArray:
    import rasterio

    with rasterio.open(path) as dataset:
        values: FloatArray = dataset.read(1, out_shape=picture.shape[:2]).astype(np.float32)
    return values


def _draw_mask(picture: UInt8Array, path: Path, classes: Sequence[str]) -> None:
    mask = _read_small(path, picture)
    shares: Counter[str] = Counter()
    for number, name in enumerate(classes):
        here = mask == number
        if here.any():
            wash(picture, here, _colour(number), 0.5)
            shares[name] = int(here.sum())
    _draw_legend(
        picture,
        [(f"{name} {shares[name] / mask.size:.0%}", _colour(number)) for number, name in _seen(classes, shares)],
    )


def _draw_map(picture: UInt8Array, path: Path, unit: str) -> None:
    values = _read_small(path, picture)
    known = np.isfinite(values)
    if not known.any():
        return
    low, high = np.percentile(values[known], [_LOW_PERCENT, _HIGH_PERCENT])
    colours = heat((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12))
    mixed = picture[known].astype(np.float32) * 0.35 + colours[known].astype(np.float32) * 0.65
    picture[known] = mixed.astype(np.uint8)
    ends = [(f"{high:.4g} {unit}", 1.0), (f"{low:.4g} {unit}", 0.0)]
    colours_of = [(text, _rgb(heat(np.array([[at]], dtype=np.float32))[0, 0])) for text, at in ends]
    _draw_legend(picture, colours_of, above=True)


def _draw_features(
    picture: UInt8Array, path: Path, shrink: float, cores: Mapping[tuple[int, int], Box] | None = None
) -> None:
    counts: Counter[str] = Counter()
    numbers: dict[str, int] = {}
    for feature in properties_of(path):
        name, number = str(feature["class"]), int(feature["class_id"])
        numbers[name] = number
        counts[name] += 1
        sides_px = feature["px_bbox"]
        if feature["product"] == "label" and cores is not None:
            core = cores[feature["tile"][0], feature["tile"][1]]
            sides_px = core.col_px, core.row_px, core.col_px + core.cols_px, core.row_px + core.rows_px
        left, top, right, bottom = (float(side) * shrink for side in sides_px)
        colour = _colour(number)
        outline(picture, (left, top, right, bottom), colour, thick_px=2 if right - left > 12 else 1)
        text = f"{name} {float(feature['score']):.2f}"
        if feature["product"] == "label":
            if (fitting := _fitting((text, name, name[:3]), right - left - 4)) is not None:
                write_words(picture, round(top) + 3, round(left) + 3, fitting, colour, scale=1)
        elif counts.total() <= _MOST_WORDS:
            write_words(picture, round(top) - 11, round(left), text, colour, scale=1)
    ranked = [(f"{name} {count}", _colour(numbers[name])) for name, count in counts.most_common(12)]
    _draw_legend(picture, ranked)


def _fitting(texts: Sequence[str], room_px: float) -> str | None:
    """The first of ``texts`` that is short enough, None where all are too long."""
    return next((text for text in texts if words(text, scale=1).shape[1] + 2 <= room_px), None)


def _draw_legend(picture: UInt8Array, entries: Sequence[tuple[str, Colour]], *, above: bool = False) -> None:
    """Words on their colours in the lower left corner, or the upper one."""
    line_px = 20
    first_px = 4 if above else max(picture.shape[0] - line_px * len(entries), 0)
    for number, (text, colour) in enumerate(entries):
        ink = (255, 255, 255) if sum(colour) < 300 else (0, 0, 0)
        write_words(picture, first_px + line_px * number, 4, text, colour, ink=ink)


def _seen(classes: Sequence[str], shares: Counter[str]) -> list[tuple[int, str]]:
    ranked = [name for name, _ in shares.most_common(12)]
    return [(number, name) for number, name in enumerate(classes) if name in ranked]


def _colour(number: int) -> Colour:
    """Of a class, by its number in the package; each further round of the list is darker, so that no two are one."""
    rounds, place = divmod(number, len(COLOURS))
    red, green, blue = (round(value * _DARKER**rounds) for value in COLOURS[place])
    return red, green, blue


def _rgb(colour: UInt8Array) -> Colour:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue
