"""Training pictures taken apart by name, put together, turned: seen from above, things point anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..readers.detection import DetectionSet
from .detection import PAD, Picture

ELONGATED = 1.4
"""Longer than wide by this, a box lies along the thing in it; a squarer one says nothing of where the thing points."""


def named(pictures: DetectionSet, pattern: str) -> DetectionSet:
    """The pictures whose file's name fits; DatasetError where none does."""
    if pattern == "*":
        return pictures
    kept = _places(pictures, pattern)
    if not kept:
        raise DatasetError(f"{pictures.name}: no picture is called {pattern!r}. Correct the pattern.")
    return pictures.take(kept, f"{pictures.name} {pattern}")


def apart(pictures: DetectionSet, pattern: str) -> tuple[DetectionSet, DetectionSet]:
    """(the rest, the pictures whose name fits); DatasetError where either is empty."""
    held = named(pictures, pattern)
    kept = set(_places(pictures, pattern))
    rest = [place for place in range(len(pictures)) if place not in kept]
    if not rest:
        raise DatasetError(f"{pictures.name}: {pattern!r} holds back every picture. Hold fewer back.")
    return pictures.take(rest, f"{pictures.name}-fit"), held


def together(parts: Sequence[DetectionSet]) -> DetectionSet:
    """The pictures of all parts, which know the same classes."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        name=" and ".join(part.name for part in parts),
        images=tuple(one for part in parts for one in part.images),
        boxes=tuple(one for part in parts for one in part.boxes),
        labels=tuple(one for part in parts for one in part.labels),
        ignored=tuple(one for part in parts for one in part.ignored),
    )


def turned(pictures: DetectionSet, angle_deg: float) -> DetectionSet:
    """Every picture in memory, turned anticlockwise on a larger canvas, and the boxes around the turned things.

    Boxes are upright, so what is in one must be guessed: along a box that is longer than wide by ``ELONGATED`` lies a
    thing as large as the box; a squarer one keeps its size.
    """
    if angle_deg == 0.0:
        return pictures
    made = [pictures.pixels(place) for place in range(len(pictures))]
    sizes = [(float(pixels.shape[2]), float(pixels.shape[1])) for pixels in made]

    def moved(all_boxes: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], ...]:
        return tuple(turned_boxes(boxes, size, angle_deg) for boxes, size in zip(all_boxes, sizes, strict=True))

    return replace(
        pictures,
        name=f"{pictures.name}, turned by {angle_deg:g} degrees",
        images=tuple(turned_picture(pixels, angle_deg) for pixels in made),
        boxes=moved(pictures.boxes),
        ignored=moved(pictures.ignored),
    )


def turned_picture(pixels: Picture, angle_deg: float) -> Picture:
    """(bands, rows, columns) turned anticlockwise; ``PAD`` where nothing was. Quarter turns are exact."""
    import torch

    quarter, rest = divmod(angle_deg, 90.0)
    if rest == 0.0:
        exact: Picture = np.ascontiguousarray(np.rot90(pixels, int(quarter) % 4, (1, 2)))
        return exact
    rows, columns = pixels.shape[1:]
    wide, high = (int(np.ceil(side)) for side in _canvas((columns, rows), angle_deg))
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    x = (np.arange(wide) + 0.5 - wide / 2)[None]
    y = (np.arange(high) + 0.5 - high / 2)[:, None]
    place = np.stack([(cosine * x - sine * y) * 2 / columns, (sine * x + cosine * y) * 2 / rows], -1)
    source = torch.from_numpy(pixels.astype(np.float32) - PAD)[None]
    grid = torch.from_numpy(place.astype(np.float32))[None]
    out = torch.nn.functional.grid_sample(source, grid, mode="bilinear", align_corners=False)[0].numpy()
    turned: Picture = np.clip(np.rint(out + PAD), 0, 255).astype(np.uint8)
    return turned


def turned_boxes(boxes: NDArray[np.float32], size_px: tuple[float, float], angle_deg: float) -> NDArray[np.float32]:
    """(n, 4) boxes of a picture of (columns, rows) in the pixels of the turned one.

    >>> turned_boxes(np.array([[2, 1, 4, 2]], np.float32), (10.0, 6.0), 90.0).round(3).tolist()
    [[1.0, 6.0, 2.0, 8.0]]
    """
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    sides = boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array(size_px) / 2
    centre = middle @ np.array([[cosine, -sine], [sine, cosine]]) + np.array(_canvas(size_px, angle_deg)) / 2
    around = sides @ np.abs([[cosine, sine], [sine, cosine]])
    long = sides.max(1) >= ELONGATED * np.maximum(sides.min(1), 1e-9)
    half = np.where(long[:, None] | (angle_deg % 90.0 == 0.0), around, sides) / 2
    found: NDArray[np.float32] = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    return found


def _canvas(size_px: tuple[float, float], angle_deg: float) -> tuple[float, float]:
    """(columns, rows) that hold a turned picture."""
    cosine, sine = abs(np.cos(np.deg2rad(angle_deg))), abs(np.sin(np.deg2rad(angle_deg)))
    columns, rows = size_px
    return round(columns * cosine + rows * sine, 6), round(columns * sine + rows * cosine, 6)


def _places(pictures: DetectionSet, pattern: str) -> list[int]:
    return [at for at, image in enumerate(pictures.images) if isinstance(image, Path) and fnmatch(image.name, pattern)]
