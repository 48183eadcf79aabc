"""COCO JSON: HRSID, SSDD's official release, HazyDet, AI-TOD and whatever else speaks it; and AU-AIR's own JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .detection import DetectionSet, Labelled, assemble, read_lines

_ANNOTATIONS = (
    "annotations/{0}.json",
    "annotations/{0}2017.json",
    "annotations/instances_{0}.json",
    "annotations/instances_{0}2017.json",
    "{0}/{0}_coco.json",
    "{0}/_annotations.coco.json",
    "{0}.json",
)
_IMAGES = (
    "images/{0}",
    "JPEGImages",
    "{0}2017",
    "JPEGImages_{0}",
    "{0}/hazy_images",
    "{0}/images",
    "images",
    "{0}",
    ".",
)


def read_coco(
    root: Path,
    split: str,
    *,
    annotations: Path | None = None,
    images: Path | None = None,
    lenient: bool = False,
    grey_as_rgb: bool = False,
) -> DetectionSet:
    """One split of a COCO set; boxes ``left, top, width, height`` in pixels, crowds become regions to ignore.

    Without ``annotations`` and ``images`` the layouts of HRSID (``annotations/train2017.json``, ``JPEGImages``), SSDD
    (``annotations/train.json``, ``images/train``) and HazyDet (``train/train_coco.json``, ``train/hazy_images``) are
    looked for. Classes are the categories in the order of their ids. Raises DatasetError.
    """
    path = annotations or _first(root, split, _ANNOTATIONS, "COCO annotations")
    stored = read_json(path)
    try:
        categories = sorted(stored["categories"], key=lambda one: int(one["id"]))
        index = {int(one["id"]): number for number, one in enumerate(categories)}
        names = tuple(str(one["name"]) for one in categories)
        listed = list(stored["images"])
        folder = images or _folder(root, split, listed, path)
        pictures = list(_pictures(stored, listed, folder, index, path))
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not in COCO form: {error!r} is missing or wrong. Fetch it again.") from error
    return assemble(f"{root.name}/{split}", pictures, names, lenient=lenient, grey_as_rgb=grey_as_rgb)


def read_json(path: Path) -> Any:
    """What a JSON file holds; DatasetError where it is cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}. Finish the download.") from error
    except ValueError as error:
        raise DatasetError(f"{path} is cut short or no JSON: {error}. Fetch it again.") from error


def _first(root: Path, split: str, patterns: tuple[str, ...], what: str) -> Path:
    for pattern in patterns:
        if (path := root / pattern.format(split)).is_file():
            return path
    raise DatasetError(f"{root} holds no {what} of {split!r}. Looked for {[p.format(split) for p in patterns]}.")


def _folder(root: Path, split: str, listed: list[Any], source: Path) -> Path:
    """The folder that holds the pictures: of the known ones, the first with one of the listed files."""
    if not listed:
        raise DatasetError(f"{source} lists no pictures. Fetch it again.")
    for pattern in _IMAGES:
        folder = root / pattern.format(split)
        if any((folder / str(one["file_name"])).is_file() for one in listed):
            return folder
    raise DatasetError(f"{root} holds none of the {len(listed)} pictures that {source} lists. Finish the download.")


def _pictures(
    stored: Mapping[str, Any], listed: list[Any], folder: Path, index: Mapping[int, int], source: Path
) -> Iterator[Labelled]:
    by_image: dict[int, list[Any]] = defaultdict(list)
    for annotation in stored["annotations"]:
        by_image[int(annotation["image_id"])].append(annotation)
    known = {int(one["id"]) for one in listed}
    if strangers := sorted(by_image.keys() - known):
        raise DatasetError(f"{source} has boxes for picture {strangers[0]}, which it does not list. Fetch it again.")
    for one in listed:
        rows, labels, ignored = [], [], []
        for annotation in by_image[int(one["id"])]:
            left, top, width, height = map(float, annotation["bbox"])
            category = int(annotation["category_id"])
            if category not in index:
                raise DatasetError(f"{source} has category {category}, which is none of {sorted(index)}. Correct it.")
            box = (left, top, left + width, top + height)
            if annotation.get("iscrowd"):
                ignored.append(box)
            else:
                rows.append(box)
                labels.append(index[category])
        size = (int(one["height"]), int(one["width"])) if "height" in one and "width" in one else None
        yield Labelled(folder / str(one["file_name"]), source, rows, labels, ignored, size)


def read_auair(root: Path, split: str, *, lenient: bool = False) -> DetectionSet:
    """AU-AIR (Bozcan and Kayacan, ICRA 2020): ``annotations.json`` with top, left, height, width, class a box.

    ``SPLIT.txt`` lists the pictures; ``all`` takes every record.
    """
    path = root / "annotations.json"
    stored = read_json(path)
    try:
        records = {str(one["image_name"]): one for one in stored["annotations"]}
        names = tuple(str(name) for name in stored["categories"])
        wanted = records if split == "all" else [Path(line).name for line in read_lines(root / f"{split}.txt")]
        if lacking := [name for name in wanted if name not in records]:
            raise DatasetError(f"{path} has no record of {lacking[0]}, which {split}.txt lists. Fetch it again.")
        pictures = [_auair_picture(root, path, records[name]) for name in wanted]
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not in AU-AIR's form: {error!r}. Fetch it again.") from error
    return assemble(f"{root.name}/{split}", pictures, names, lenient=lenient)


def _auair_picture(root: Path, path: Path, record: Mapping[str, Any]) -> Labelled:
    boxes = record["bbox"]
    rows = [(b["left"], b["top"], b["left"] + b["width"], b["top"] + b["height"]) for b in boxes]
    size = int(record["image_height"]), int(record["image_width"])
    return Labelled(root / "images" / str(record["image_name"]), path, rows, [int(b["class"]) for b in boxes], (), size)
