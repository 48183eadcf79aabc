"""xView (Lam et al., 2018): ``train_images/*.tif`` and ``xView_train.geojson``, whose features carry
``bounds_imcoords`` (left,top,right,bottom in pixels), ``image_id`` and ``type_id``.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .coco import read_json
from .detection import DetectionSet, Labelled, assemble, index_of, read_lines

XVIEW_CLASSES = {
    11: "Fixed-wing Aircraft", 12: "Small Aircraft", 13: "Cargo Plane", 15: "Helicopter", 17: "Passenger Vehicle",
    18: "Small Car", 19: "Bus", 20: "Pickup Truck", 21: "Utility Truck", 23: "Truck", 24: "Cargo Truck",
    25: "Truck w/Box", 26: "Truck Tractor", 27: "Trailer", 28: "Truck w/Flatbed", 29: "Truck w/Liquid",
    32: "Crane Truck", 33: "Railway Vehicle", 34: "Passenger Car", 35: "Cargo Car", 36: "Flat Car", 37: "Tank car",
    38: "Locomotive", 40: "Maritime Vessel", 41: "Motorboat", 42: "Sailboat", 44: "Tugboat", 45: "Barge",
    47: "Fishing Vessel", 49: "Ferry", 50: "Yacht", 51: "Container Ship", 52: "Oil Tanker", 53: "Engineering Vehicle",
    54: "Tower crane", 55: "Container Crane", 56: "Reach Stacker", 57: "Straddle Carrier", 59: "Mobile Crane",
    60: "Dump Truck", 61: "Haul Truck", 62: "Scraper/Tractor", 63: "Front loader/Bulldozer", 64: "Excavator",
    65: "Cement Mixer", 66: "Ground Grader", 71: "Hut/Tent", 72: "Shed", 73: "Building", 74: "Aircraft Hangar",
    76: "Damaged Building", 77: "Facility", 79: "Construction Site", 83: "Vehicle Lot", 84: "Helipad",
    86: "Storage Tank", 89: "Shipping container lot", 91: "Shipping Container", 93: "Pylon", 94: "Tower",
}  # fmt: skip
_UNNAMED = (75, 82)
"""Numbers that occur in the release without a name; the benchmark leaves them out."""


def read_xview(root: Path, split: str = "all", *, lenient: bool = True) -> DetectionSet:
    """The labelled pictures; a split other than ``all`` is a list ``SPLIT.txt`` of picture names.

    The release has boxes outside their pictures, so ``lenient`` is the default. Raises DatasetError.
    """
    source = root / "xView_train.geojson"
    stored = read_json(source)
    index = {kind: number for number, kind in enumerate(XVIEW_CLASSES)}
    boxes: dict[str, list[tuple[list[float], int]]] = defaultdict(list)
    try:
        for feature in stored["features"]:
            record = feature["properties"]
            if int(record["type_id"]) not in _UNNAMED:
                kind = index_of(index, int(record["type_id"]), source)
                boxes[str(record["image_id"])].append((_bounds(record), kind))
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{source} is not in xView's form: {error!r}. Fetch it again.") from error
    names = sorted(boxes) if split == "all" else [Path(line).name for line in read_lines(root / f"{split}.txt")]
    pictures = [_picture(root / "train_images" / name, source, boxes.get(name, [])) for name in names]
    return assemble(f"{root.name}/{split}", pictures, tuple(XVIEW_CLASSES.values()), lenient=lenient)


def _bounds(record: Any) -> list[float]:
    bounds = [float(text) for text in str(record["bounds_imcoords"]).split(",")]
    if len(bounds) != 4:
        raise ValueError(f"bounds_imcoords of {len(bounds)} numbers")
    return bounds


def _picture(image: Path, source: Path, boxes: list[tuple[list[float], int]]) -> Labelled:
    return Labelled(image, source, [box for box, _ in boxes], [kind for _, kind in boxes])
