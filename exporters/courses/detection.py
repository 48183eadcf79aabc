"""What courses of detectors share: pictures at one size, mosaics of four, scores on whole pictures.

Boxes are left, top, right, bottom in pixels of the network's input. Augmentation as in YOLOv5: mosaic, scale and
translation, mirror, hue, saturation and value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.boxes import suppress
from ..metrics.detection import DetectionScores, score_detections
from ..readers.detection import DetectionSet
from .detection_colour import jitter_hsv

if TYPE_CHECKING:
    from torch import Tensor, nn

PAD = 114
"""Grey of what no picture covers."""
Picture = NDArray[np.uint8]
Boxes = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Shares and ranges of the random changes."""

    mosaic: float = 1.0
    scale: float = 0.5
    translate: float = 0.1
    mirror: float = 0.5
    flip: float = 0.0
    """Upside down: pictures taken from above have no up."""
    hsv: tuple[float, float, float] = (0.015, 0.7, 0.4)
    min_side_px: float = 2.0
    min_area_frac: float = 0.1
    """Of a box must remain, or it is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A picture scaled so that its longer side is the edge. ``scale``: its pixels per pixel of the original."""

    pixels: Picture
    boxes: Boxes
    labels: NDArray[np.int64]
    scale: float


def resize(pixels: Picture, rows: int, columns: int) -> Picture:
    """(bands, rows, columns) by bilinear interpolation, with averaging where it shrinks."""
    import torch

    if pixels.shape[1:] == (rows, columns):
        return pixels
    source = torch.from_numpy(np.ascontiguousarray(pixels))[None]
    shrinks = rows < pixels.shape[1]
    out = torch.nn.functional.interpolate(
        source, size=(rows, columns), mode="bilinear", align_corners=False, antialias=shrinks
    )
    scaled: Picture = out[0].numpy()
    return scaled


def fit_picture(pixels: Picture, boxes: Boxes, labels: NDArray[np.int64], edge_px: int) -> Fitted:
    """Scale a picture so that its longer side is ``edge_px``."""
    scale = edge_px / max(pixels.shape[1:])
    rows, columns = (max(1, round(side * scale)) for side in pixels.shape[1:])
    return Fitted(resize(pixels, rows, columns), (boxes * scale).astype(np.float32), labels, scale)


def fit_all(pictures: DetectionSet, edge_px: int) -> list[Fitted]:
    """Every picture of a set at one size, in memory."""
    return [
        fit_picture(pictures.pixels(i), pictures.boxes[i], pictures.labels[i], edge_px) for i in range(len(pictures))
    ]


def letterbox(picture: Fitted, edge_px: int) -> tuple[Picture, Boxes, tuple[int, int]]:
    """A square with the picture in its middle: (pixels, boxes, (top, left) of the picture)."""
    rows, columns = picture.pixels.shape[1:]
    top, left = (edge_px - rows) // 2, (edge_px - columns) // 2
    out = np.full((len(picture.pixels), edge_px, edge_px), PAD, np.uint8)
    out[:, top : top + rows, left : left + columns] = picture.pixels
    return out, picture.boxes + np.array([left, top, left, top], np.float32), (top, left)


def mosaic(
    pictures: Sequence[Fitted], edge_px: int, settings: Augmentation, rng: np.random.Generator
) -> tuple[Picture, Boxes, NDArray[np.int64]]:
    """Four pictures around a random point, or one alone, scaled and moved at random, cut to ``edge_px``."""
    scale = rng.uniform(1.0 - settings.scale, 1.0 + settings.scale)
    shift = rng.uniform(0.5 - settings.translate, 0.5 + settings.translate, 2) * edge_px
    out = np.full((len(pictures[0].pixels), edge_px, edge_px), PAD, np.uint8)
    joint = rng.uniform(-0.5, 0.5, 2) * edge_px if len(pictures) > 1 else np.zeros(2)
    boxes, labels = [], []
    for number, picture in enumerate(pictures):
        rows, columns = (max(1, round(side * scale)) for side in picture.pixels.shape[1:])
        corner = np.array([rows, columns]) / -2.0
        if len(pictures) > 1:
            corner = joint * scale - np.array([rows, columns]) * [number < 2, number % 2 == 0]
        top, left = (round(float(value)) for value in corner + shift)
        _paste(out, resize(picture.pixels, rows, columns), top, left)
        ratio = np.array([columns / picture.pixels.shape[2], rows / picture.pixels.shape[1]], np.float32)
        moved = picture.boxes * np.tile(ratio, 2) + np.array([left, top, left, top], np.float32)
        kept, clipped = _remaining(moved, edge_px, settings)
        boxes.append(clipped)
        labels.append(picture.labels[kept])
    return out, np.concatenate(boxes), np.concatenate(labels)


def _paste(canvas: Picture, picture: Picture, top: int, left: int) -> None:
    edge = canvas.shape[1]
    rows, columns = picture.shape[1:]
    r0, r1, c0, c1 = max(top, 0), min(top + rows, edge), max(left, 0), min(left + columns, edge)
    if r1 > r0 and c1 > c0:
        canvas[:, r0:r1, c0:c1] = picture[:, r0 - top : r1 - top, c0 - left : c1 - left]


def _remaining(boxes: Boxes, edge_px: int, settings: Augmentation) -> tuple[NDArray[np.bool_], Boxes]:
    """Which boxes still show, and their part inside."""
    clipped = np.clip(boxes, 0.0, edge_px).astype(np.float32)
    before, after = boxes[:, 2:] - boxes[:, :2], clipped[:, 2:] - clipped[:, :2]
    kept = (after > settings.min_side_px).all(1) & (after.prod(1) > settings.min_area_frac * before.prod(1))
    return kept, clipped[kept]


def augmented(
    pictures: Sequence[Fitted], index: int, edge_px: int, settings: Augmentation, rng: np.random.Generator
) -> tuple[Picture, Boxes, NDArray[np.int64]]:
    """One random view around picture ``index``."""
    chosen = [pictures[index]]
    if rng.random() < settings.mosaic:
        chosen += [pictures[int(i)] for i in rng.integers(0, len(pictures), 3)]
    pixels, boxes, labels = mosaic(chosen, edge_px, settings, rng)
    if rng.random() < settings.mirror:
        pixels, boxes = pixels[:, :, ::-1], mirrored(boxes, edge_px, 0)
    if rng.random() < settings.flip:
        pixels, boxes = pixels[:, ::-1], mirrored(boxes, edge_px, 1)
    return jitter_hsv(np.ascontiguousarray(pixels), settings.hsv, rng), boxes, labels


def mirrored(boxes: Boxes, edge_px: int, axis: int) -> Boxes:
    """Boxes in a picture turned left to right (0) or upside down (1).

    >>> mirrored(np.array([[1, 2, 3, 4]], np.float32), 10, 0).tolist()
    [[7.0, 2.0, 9.0, 4.0]]
    """
    out: Boxes = boxes.copy()
    out[:, axis], out[:, axis + 2] = edge_px - boxes[:, axis + 2], edge_px - boxes[:, axis]
    return out


def batches(
    pictures: Sequence[Fitted], *, edge_px: int, batch: int, settings: Augmentation, seed: int, epoch: int
) -> Iterator[dict[str, Tensor]]:
    """The batches of an epoch: ``image`` (b, 3, edge, edge) uint8, ``targets`` (m, 6): image, class, box in pixels.

    Seed and epoch decide everything. The last batch is left out when it is not whole, unless it is the only one.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(pictures))
    whole = max(1, len(order) // batch)
    for step in range(whole):
        views = [augmented(pictures, int(i), edge_px, settings, rng) for i in order[step * batch : (step + 1) * batch]]
        yield as_batch(views)


def as_batch(views: Sequence[tuple[Picture, Boxes, NDArray[np.int64]]]) -> dict[str, Tensor]:
    """Views side by side, as ``batches`` hands them out."""
    import torch

    rows = [
        np.column_stack([np.full(len(boxes), number), labels, boxes]) for number, (_, boxes, labels) in enumerate(views)
    ]
    return {
        "image": torch.from_numpy(np.stack([pixels for pixels, _, _ in views])),
        "targets": torch.from_numpy(np.concatenate(rows).astype(np.float32)),
    }


Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(n, 3, edge, edge) uint8 tiles in, (n, k, 6) boxes before suppression out."""


def evaluate(
    answer: Answer,
    pictures: DetectionSet,
    fitted: Sequence[Fitted],
    *,
    edge_px: int,
    min_score: float = 0.001,
    max_overlap: float = 0.6,
    batch: int = 16,
) -> DetectionScores:
    """Average precision on whole pictures, letterboxed, in the pixels of the originals."""
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(fitted), batch):
        part = fitted[start : start + batch]
        framed = [letterbox(one, edge_px) for one in part]
        for one, (_, _, (top, left)), boxes in zip(
            part, framed, answer(np.stack([pixels for pixels, _, _ in framed])), strict=True
        ):
            kept = suppress(boxes, min_score=min_score, max_overlap=max_overlap).copy()
            kept[:, :4] = (kept[:, :4] - np.array([left, top, left, top], np.float32)) / one.scale
            found.append(kept)
    return score_detections(
        found, pictures.boxes, pictures.labels, classes=len(pictures.classes), ignored=pictures.ignored
    )


def answer_of(deployed: nn.Module) -> Answer:
    """A deployed detector as a function of arrays."""
    import torch

    def answer(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            boxes: NDArray[np.float32] = deployed(torch.from_numpy(tiles)).float().numpy()
        return boxes

    return answer


def held_back(pictures: DetectionSet, share: float, *, seed: int = 0) -> tuple[DetectionSet, DetectionSet]:
    """Split training pictures: (the rest, those held back). DatasetError where either would be empty."""
    count = round(share * len(pictures))
    if not 0 < count < len(pictures):
        raise DatasetError(f"{pictures.name} has {len(pictures)} pictures, too few to hold {share:.0%} back. Add some.")
    order = np.random.default_rng(seed).permutation(len(pictures))
    rest, held = np.sort(order[count:]), np.sort(order[:count])
    return pictures.take(rest, f"{pictures.name}-fit"), pictures.take(held, f"{pictures.name}-val")


def possible_recall(sides_px: NDArray[Any], anchors_px: NDArray[Any], max_ratio: float = 4.0) -> float:
    """Share of boxes (n, 2) w, h that some anchor (k, 2) can serve: no side off by ``max_ratio`` or more.

    >>> possible_recall(np.array([[10, 10], [100, 10]]), np.array([[12, 12]]))
    0.5
    """
    ratio = sides_px[:, None] / anchors_px[None]
    return float((np.maximum(ratio, 1.0 / ratio).max(2).min(1) < max_ratio).mean())


def estimate_anchors(sides_px: NDArray[Any], count: int = 9, *, rounds: int = 100, seed: int = 0) -> NDArray[Any]:
    """(count, 2) anchors by k-means of the boxes' sides in logarithms, small to large."""
    points = np.log(np.maximum(sides_px.astype(np.float64), 1.0))
    rng = np.random.default_rng(seed)
    centres = points[rng.choice(len(points), count, replace=len(points) < count)]
    for _ in range(rounds):
        nearest = np.abs(points[:, None] - centres[None]).max(2).argmin(1)
        moved = np.array([points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(count)])
        if np.allclose(moved, centres):
            break
        centres = moved
    anchors = np.exp(centres)
    ordered: NDArray[Any] = anchors[anchors.prod(1).argsort()].round(1)
    return ordered


def anchors_for(fitted: Sequence[Fitted], default_px: NDArray[Any], least: float = 0.98) -> NDArray[Any]:
    """The default anchors (levels, a, 2) where they can serve ``least`` of the boxes, else estimated ones."""
    sides = np.concatenate([one.boxes[:, 2:] - one.boxes[:, :2] for one in fitted])
    if possible_recall(sides, default_px.reshape(-1, 2)) >= least:
        return default_px
    return estimate_anchors(sides, default_px.size // 2).reshape(default_px.shape)
