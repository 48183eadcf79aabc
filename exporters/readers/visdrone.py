"""VisDrone-DET (Zhu et al., TPAMI 2021): ``images/x.jpg``, ``annotations/x.txt`` with one box a line,
``left,top,width,height,score,category,truncation,occlusion``. Category 0 are regions to ignore, 11 is "others".
"""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .detection import DetectionSet, Labelled, assemble, images_below, numbers, read_lines

VISDRONE_CLASSES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
)  # fmt: skip


def read_visdrone(root: Path, split: str, *, lenient: bool = False) -> DetectionSet:
    """One split, in ``VisDrone2019-DET-SPLIT`` below ``root``, in ``SPLIT``, or in ``root`` itself for ``all``.

    Boxes with score 0 (not evaluated) and category 0 are regions to ignore, those of category 11 are left out, as the
    benchmark's own tool does. Raises DatasetError.
    """
    base = root if split == "all" else root / f"VisDrone2019-DET-{split}"
    base = base if base.is_dir() else root / split
    pictures = [_picture(image, base / "annotations" / f"{image.stem}.txt") for image in images_below(base / "images")]
    return assemble(f"{root.name}/{split}", pictures, VISDRONE_CLASSES, lenient=lenient)


def _picture(image: Path, labels: Path) -> Labelled:
    if not labels.is_file():
        raise DatasetError(f"{image} has no label file {labels}. Finish the download.")
    rows, kinds, ignored = [], [], []
    for line in read_lines(labels):
        left, top, width, height, score, kind = numbers(labels, line, line.rstrip(",").split(","), 6)
        box = (left, top, left + width, top + height)
        if kind == 0 or score == 0:
            ignored.append(box)
        elif kind != 11:
            rows.append(box)
            kinds.append(int(kind) - 1)
    return Labelled(image, labels, rows, kinds, ignored)
