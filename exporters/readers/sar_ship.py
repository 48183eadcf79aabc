"""SAR-Ship-Dataset (Wang et al., Remote Sensing 2019): 43,819 chips of 256 px with one YOLO file beside each.

The set has no official split. ``random`` is the usual 4:1, drawn with seed 0; chips overlap in their scenes, so it
leaks. ``by-scene`` keeps chips of one sensor, polarisation and acquisition date together.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import DatasetError
from .detection import DetectionSet, assemble, images_below
from .yolo import yolo_picture

_NAME = re.compile(r"(?P<sensor>[A-Za-z]+)_ship_(?P<polarisation>[a-z]+)_(?P<date>\d{9})\d*")


def read_sar_ship(
    root: Path, split: str, *, rule: str = "random", test_frac: float = 0.2, seed: int = 0, lenient: bool = False
) -> DetectionSet:
    """``train`` or ``test`` by ``rule`` (``random`` or ``by-scene``), or ``all``. Raises DatasetError."""
    images = list(images_below(root))
    if not images:
        raise DatasetError(f"{root} holds no chips. Give the folder in which pictures and labels lie side by side.")
    chosen = images if split == "all" else _split(images, split, rule, test_frac, seed)
    pictures = [yolo_picture(image, image.with_suffix(".txt")) for image in chosen]
    return assemble(f"{root.name}/{split} ({rule})", pictures, ("ship",), lenient=lenient, grey_as_rgb=True)


def scene_of(name: str) -> str:
    """Sensor, polarisation and date of a chip by its name.

    >>> scene_of("Gao_ship_hh_0201608254401010012.jpg")
    'Gao-hh-020160825'
    """
    match = _NAME.match(name)
    if match is None:
        raise DatasetError(f"{name} does not name its scene as Sensor_ship_polarisation_digits. Use rule='random'.")
    return "-".join(match.group("sensor", "polarisation", "date"))


def _split(images: list[Path], split: str, rule: str, test_frac: float, seed: int) -> list[Path]:
    if split not in ("train", "test") or rule not in ("random", "by-scene"):
        raise DatasetError(f"There is no split {split!r} by rule {rule!r}. Use train or test, random or by-scene.")
    groups = [path.name if rule == "random" else scene_of(path.name) for path in images]
    kinds = np.unique(groups)
    shuffled = np.random.default_rng(seed).permutation(kinds)
    test = set(shuffled[: max(1, round(test_frac * len(kinds)))].tolist())
    return [path for path, group in zip(images, groups, strict=True) if (group in test) == (split == "test")]
