"""A picture of a scene with what was found drawn into it: boxes, labels, a mask's classes, a map's heat."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
_LINE_PX, _GAP_PX = 9, 6
_LEGEND_GROUND: Colour = (24, 24, 24)
Entry = tuple[str, Colour]
"""A line of the legend: its words on their colour."""
_LOW_PERCENT, _HIGH_PERCENT = 2.0, 98.0


def write_preview(
    path: Path, frame: RasterFrame | Stack, info: PackageInfo, answers: Path, overlap_px: int = 0
) -> None:
    """Draw what ``answers`` says of ``frame`` into a PNG of at most 1600 px a side, with its legend below.

    Raises ``StoreError``.

    ``overlap_px``: of the tiles, so that a label stands on the part of its tile that it alone answers for.
    """
    shrink = min(1.0, LONGEST_PX / max(frame.width_px, frame.height_px))
    rows, cols = max(1, round(frame.height_px * shrink)), max(1, round(frame.width_px * shrink))
    restored = info.output.kind == "image"
    picture = _of_file(answers, rows, cols) if restored else _of_frame(frame, rows, cols)
    if (grown := _READABLE_PX // max(rows, cols)) > 1:  # words need room in a small scene
        picture, shrink = picture.repeat(grown, axis=0).repeat(grown, axis=1), shrink * grown
    entries: list[Entry] = []
    if info.output.kind == "mask":
        entries = _draw_mask(picture, answers, info.classes)
    elif info.output.kind == "map":
        entries = _draw_map(picture, answers, info.output.unit)
        if (found := answers.with_suffix(".geojson")).is_file():
            entries += _draw_features(picture, found, shrink)
    elif answers.suffix == ".geojson":
        grid = tile_grid(frame.width_px, frame.height_px, info.input.tile_edge_px, overlap_px)
        cores = {(window.ref.row_px, window.ref.col_px): window.core for window in grid}
        entries = _draw_features(picture, answers, shrink, cores)
    write_png(path, np.concatenate([picture, _legend(entries, picture.shape[1])]))


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


def _draw_mask(picture: UInt8Array, path: Path, classes: Sequence[str]) -> list[Entry]:
    mask = _read_small(path, picture)
    shares: Counter[str] = Counter()
    for number, name in enumerate(classes):
        here = mask == number
        if here.any():
            wash(picture, here, _colour(number), 0.5)
            shares[name] = int(here.sum())
    ranked = _seen(classes, shares)
    return [(f"{_spaced(name)} {shares[name] / mask.size:.0%}", _colour(number)) for number, name in ranked]


def _draw_map(picture: UInt8Array, path: Path, unit: str) -> list[Entry]:
    values = _read_small(path, picture)
    known = np.isfinite(values)
    if not known.any():
        return []
    low, high = np.percentile(values[known], [_LOW_PERCENT, _HIGH_PERCENT])
    colours = heat((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12))
    mixed = picture[known].astype(np.float32) * 0.35 + colours[known].astype(np.float32) * 0.65
    picture[known] = mixed.astype(np.uint8)
    ends = [(f"{low:.4g} {unit}", 0.0), (f"{high:.4g} {unit}", 1.0)]
    return [(text, _rgb(heat(np.array([[at]], dtype=np.float32))[0, 0])) for text, at in ends]


def _draw_features(
    picture: UInt8Array, path: Path, shrink: float, cores: Mapping[tuple[int, int], Box] | None = None
) -> list[Entry]:
    counts: Counter[str] = Counter()
    numbers: dict[str, int] = {}
    room_px = 0.0
    for feature in properties_of(path):
        name = str(feature["class"])
        numbers[name] = int(feature["class_id"])
        counts[name] += 1
        if feature["product"] == "label":
            left, _, right, _ = _sides(feature, cores, shrink)
            room_px = max(room_px, right - left)
    form = _form(list(counts), room_px)
    for feature in properties_of(path):
        name = str(feature["class"])
        sides_px, colour = _sides(feature, cores, shrink), _colour(numbers[name])
        left, top, right, _ = sides_px
        outline(picture, sides_px, colour, thick_px=2 if right - left > 12 else 1)
        if feature["product"] == "label":
            _write_label(picture, sides_px, form(name, float(feature["score"])), colour)
        elif counts.total() <= _MOST_WORDS:
            text = f"{_spaced(name)} {float(feature['score']):.2f}"
            write_words(picture, round(top) - 11, round(left), text, colour, scale=1)
    letters = "{}: " if room_px > 0 and form is _letters else ""
    return [
        (f"{letters.format(name[:3])}{_spaced(name)} {count}", _colour(numbers[name]))
        for name, count in counts.most_common(12)
    ]


def _sides(
    feature: Mapping[str, Any], cores: Mapping[tuple[int, int], Box] | None, shrink: float
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a feature in the picture; a label's are those of the part it answers for."""
    sides_px = feature["px_bbox"]
    if feature["product"] == "label" and cores is not None:
        core = cores[feature["tile"][0], feature["tile"][1]]
        sides_px = core.col_px, core.row_px, core.col_px + core.cols_px, core.row_px + core.rows_px
    left, top, right, bottom = (float(side) * shrink for side in sides_px)
    return left, top, right, bottom


def _with_score(name: str, score: float) -> list[str]:
    return [f"{_spaced(name)} {score:.2f}"]


def _names(name: str, score: float) -> list[str]:
    return _spaced(name).split(" ")


def _letters(name: str, score: float) -> list[str]:
    return [name[:3]]


def _form(names: Sequence[str], room_px: float) -> Callable[[str, float], list[str]]:
    """How labels are written: the fullest form in which all of these fit, so that no two tiles look alike by chance.

    >>> _form(["AnnualCrop", "River"], 110.0) is _with_score, _form(["AnnualCrop", "River"], 64.0) is _names
    (True, True)
    """
    for form in (_with_score, _names):
        if all(_width_px(line) + _GAP_PX <= room_px for name in names for line in form(name, 1.0)):
            return form
    return _letters


def _write_label(
    picture: UInt8Array, sides_px: tuple[float, float, float, float], lines: Sequence[str], colour: Colour
) -> None:
    """Lines in the upper left corner of a tile; nothing in a tile that is too small for them."""
    left, top, right, bottom = sides_px
    if max(map(_width_px, lines)) + _GAP_PX > right - left or _LINE_PX * len(lines) + 4 > bottom - top:
        return
    for number, line in enumerate(lines):
        write_words(picture, round(top) + 3 + _LINE_PX * number, round(left) + 3, line, colour, scale=1)


def _width_px(text: str, scale: int = 1) -> int:
    return int(words(text, scale).shape[1]) + 2 * scale


def _spaced(name: str) -> str:
    """Words that a class name joins, apart.

    >>> _spaced("HerbaceousVegetation"), _spaced("small car"), _spaced("UAV")
    ('Herbaceous Vegetation', 'small car', 'UAV')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _legend(entries: Sequence[Entry], width_px: int) -> UInt8Array:
    """(rows, width, 3): words on their colours, side by side and on as many lines as they take; no rows for none."""
    scale = 2 if all(_width_px(text, 2) + 2 * _GAP_PX <= width_px for text, _ in entries) else 1
    places: list[tuple[int, int]] = []
    row, col_px = 0, _GAP_PX
    for text, _ in entries:
        if col_px > _GAP_PX and col_px + _width_px(text, scale) + _GAP_PX > width_px:
            row, col_px = row + 1, _GAP_PX
        places.append((row, col_px))
        col_px += _width_px(text, scale) + _GAP_PX
    line_px = _LINE_PX * scale + _GAP_PX
    strip = np.empty((line_px * (row + 1) + _GAP_PX if entries else 0, width_px, 3), dtype=np.uint8)
    strip[:] = _LEGEND_GROUND
    for (text, colour), (line, left_px) in zip(entries, places, strict=True):
        ink = (255, 255, 255) if sum(colour) < 300 else (0, 0, 0)
        write_words(strip, _GAP_PX + line_px * line, left_px, text, colour, ink=ink, scale=scale)
    return strip


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
