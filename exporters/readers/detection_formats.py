"""One door to the readers of detection sets: by name, or by what lies in the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import DatasetError
from .coco import read_auair, read_coco
from .detection import DetectionSet
from .dota import read_dota
from .sar_ship import read_sar_ship
from .uavdt import read_uavdt
from .visdrone import read_visdrone
from .xview import read_xview
from .yolo import read_yolo

FORMATS: dict[str, Callable[..., DetectionSet]] = {
    "yolo": read_yolo,
    "coco": read_coco,
    "auair": read_auair,
    "dota": read_dota,
    "visdrone": read_visdrone,
    "uavdt": read_uavdt,
    "xview": read_xview,
    "sar-ship": read_sar_ship,
}


def read_detections(
    root: Path, split: str, *, layout: str = "auto", grey_as_rgb: bool = False, lenient: bool = False
) -> DetectionSet:
    """One split of the detection set in ``root``, whose layout is one of ``FORMATS`` or guessed.

    ``grey_as_rgb`` lets pictures of one band stand for three equal ones (SAR). Raises DatasetError.
    """
    if not root.is_dir():
        raise DatasetError(f"There is no folder {root}. Fetch the data set, or correct the path.")
    name = _guess(root, split) if layout == "auto" else layout
    if name not in FORMATS:
        raise DatasetError(f"There is no layout {name!r}. Use one of {', '.join(sorted(FORMATS))}.")
    more = {"grey_as_rgb": grey_as_rgb} if name in ("yolo", "coco") and grey_as_rgb else {}
    return FORMATS[name](root, split, lenient=lenient, **more)


def _guess(root: Path, split: str) -> str:
    if (root / "xView_train.geojson").is_file():
        return "xview"
    if (root / "UAV-benchmark-M").is_dir():
        return "uavdt"
    if (root / f"VisDrone2019-DET-{split}").is_dir():
        return "visdrone"
    if (root / "annotations.json").is_file() and (root / f"{split}.txt").is_file():
        return "auair"
    if any(root.glob("annotations/*.json")) or any(root.glob(f"{split}*/*coco.json")):
        return "coco"
    if any(root.glob("*_ship_*.txt")):
        return "sar-ship"
    if (root / split / "labelTxt").is_dir() or (root / "labelTxt").is_dir() or _has_corners(root):
        return "dota"
    if (root / "labels").is_dir():
        return "yolo"
    raise DatasetError(f"The layout of {root} is none of {', '.join(sorted(FORMATS))}. Say which with layout=NAME.")


def _has_corners(root: Path) -> bool:
    """Whether the first label that says something has eight corners and not four fractions."""
    for path in sorted(root.glob("labels/*.txt"))[:16]:
        if fields := path.read_text(encoding="utf-8", errors="replace").split("\n")[0].split():
            return len(fields) >= 9
    return False
