"""Large pictures of a detection set cut into overlapping squares, so that small things stay as large as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..metrics.boxes import areas_px, intersections_px
from ..readers.detection import DetectionSet

MIN_SEEN_FRAC = 0.5
"""Of a box must lie in a tile to count there; the rest of a box is a region that does not count."""


def starts_px(side_px: int, tile_px: int, overlap_px: int) -> list[int]:
    """Where tiles begin along a side: the last one ends with it, all overlap by ``overlap_px`` at least.

    >>> starts_px(600, 200, 30), starts_px(150, 200, 30)
    ([0, 133, 267, 400], [0])
    """
    if side_px <= tile_px:
        return [0]
    count = -(-(side_px - tile_px) // (tile_px - overlap_px)) + 1
    return [round(float(start)) for start in np.linspace(0, side_px - tile_px, count)]


def cut_tiles(pictures: DetectionSet, tile_px: int, *, overlap_px: int = 30, empty: bool = True) -> DetectionSet:
    """Every picture in tiles of ``tile_px``, in memory. ``empty=False`` leaves out those without a box."""
    images, boxes, labels, ignored = [], [], [], []
    for index in range(len(pictures)):
        pixels = pictures.pixels(index)
        rows, columns = pixels.shape[1:]
        for top in starts_px(rows, tile_px, overlap_px):
            for left in starts_px(columns, tile_px, overlap_px):
                window = np.array([left, top, min(left + tile_px, columns), min(top + tile_px, rows)], np.float32)
                kept, cut = _seen(pictures.boxes[index], window)
                if not empty and not kept.any():
                    continue
                images.append(pixels[:, top : top + tile_px, left : left + tile_px])
                boxes.append(_within(pictures.boxes[index][kept], window))
                labels.append(pictures.labels[index][kept])
                regions = np.concatenate([pictures.boxes[index][cut], pictures.ignored[index]])
                regions = regions[intersections_px(regions, window[None])[:, 0] > 0]
                ignored.append(_within(regions, window))
    return replace(
        pictures,
        name=f"{pictures.name}, tiles of {tile_px} px",
        images=tuple(images),
        boxes=tuple(boxes),
        labels=tuple(labels),
        ignored=tuple(ignored),
    )


def in_tiles(pictures: DetectionSet, tile_px: int, *, empty: bool = True) -> DetectionSet:
    """Pictures in squares of ``tile_px``, or as they are where that is 0."""
    return cut_tiles(pictures, tile_px, empty=empty) if tile_px else pictures


def _seen(boxes: NDArray[np.float32], window: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boxes count in a window, and of which a lesser part shows."""
    shown = intersections_px(boxes, window[None])[:, 0]
    kept = shown >= MIN_SEEN_FRAC * np.maximum(areas_px(boxes), 1e-9)
    return kept, (shown > 0) & ~kept


def _within(boxes: NDArray[np.float32], window: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped = np.clip(boxes, window[[0, 1, 0, 1]], window[[2, 3, 2, 3]]) - window[[0, 1, 0, 1]]
    inside: NDArray[np.float32] = clipped.astype(np.float32)
    return inside
