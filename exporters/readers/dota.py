"""DOTA text: ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``, the corners of an oriented box in pixels.

The enclosing upright box is what the detectors here learn. DOTA (Xia et al., CVPR 2018): ``images/``, ``labelTxt/``,
two header lines (``imagesource:``, ``gsd:``); the airport set: ``labels/``, split lists, no header.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .detection import DetectionSet, Labelled, assemble, images_below, index_of, numbers, read_lines
from .yolo import label_file

DOTA_CLASSES = (
    "plane", "ship", "storage-tank", "baseball-diamond", "tennis-court", "basketball-court", "ground-track-field",
    "harbor", "bridge", "large-vehicle", "small-vehicle", "helicopter", "roundabout", "soccer-ball-field",
    "swimming-pool",
)  # fmt: skip


def read_dota(
    root: Path, split: str, *, classes: tuple[str, ...] | None = None, difficult: bool = True, lenient: bool = False
) -> DetectionSet:
    """One split: the pictures of ``SPLIT.txt``, of ``SPLIT/images`` or, for ``all``, of ``images``.

    ``classes`` default to ``classes.txt`` or DOTA's fifteen. ``difficult=False`` turns boxes so marked into regions
    to ignore. Raises DatasetError.
    """
    names = classes or (tuple(read_lines(root / "classes.txt")) if (root / "classes.txt").is_file() else DOTA_CLASSES)
    base, images = _where(root, split)
    folder = "labelTxt" if (base / "labelTxt").is_dir() else "labels"
    index = {name: number for number, name in enumerate(names)}
    pictures = [_picture(image, label_file(base, image, folder), index, difficult) for image in images]
    return assemble(f"{root.name}/{split}", pictures, names, lenient=lenient)


def _where(root: Path, split: str) -> tuple[Path, list[Path]]:
    if (root / f"{split}.txt").is_file():
        return root, [root / line for line in read_lines(root / f"{split}.txt")]
    base = root if split == "all" else root / split
    return base, list(images_below(base / "images"))


def _picture(image: Path, labels: Path, index: dict[str, int], difficult: bool) -> Labelled:
    if not labels.is_file():
        raise DatasetError(
            f"{image} has no label file {labels}. Finish the download, or write an empty file where there is nothing."
        )
    rows, kinds, ignored = [], [], []
    for line in read_lines(labels):
        if line.startswith(("imagesource:", "gsd:")):
            continue
        fields = line.split()
        corners = numbers(labels, line, fields, 8)
        box = (min(corners[::2]), min(corners[1::2]), max(corners[::2]), max(corners[1::2]))
        if len(fields) < 9:
            raise DatasetError(f"{labels}: line {line!r} names no class. Correct it.")
        if not difficult and fields[9:10] == ["1"]:
            ignored.append(box)
            continue
        rows.append(box)
        kinds.append(index_of(index, fields[8], labels))
    return Labelled(image, labels, rows, kinds, ignored)
