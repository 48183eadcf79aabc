"""YOLO text: one file a picture, one line a box, ``class cx cy w h`` as fractions of the picture.

Two layouts: lists (``train.txt`` names pictures, ``labels/`` beside ``images/``) and folders
(``images/train``, ``labels/train``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import DatasetError
from .detection import DetectionSet, Labelled, assemble, image_size_px, images_below, numbers, read_lines


def read_yolo(
    root: Path, split: str, *, classes: tuple[str, ...] | None = None, lenient: bool = False, grey_as_rgb: bool = False
) -> DetectionSet:
    """One split of a YOLO set. ``classes`` default to the lines of ``classes.txt``.

    Every picture needs its label file: an empty one says that there is nothing, a missing one that the download is
    not complete. Raises DatasetError.
    """
    names = classes or tuple(read_lines(root / "classes.txt"))
    pictures = (yolo_picture(image, label_file(root, image)) for image in split_images(root, split))
    return assemble(f"{root.name}/{split}", pictures, names, lenient=lenient, grey_as_rgb=grey_as_rgb)


def split_images(root: Path, split: str) -> Iterator[Path]:
    """The pictures of a split: those that ``SPLIT.txt`` lists, or those in ``images/SPLIT``."""
    listing = root / f"{split}.txt"
    if listing.is_file():
        return (root / line for line in read_lines(listing))
    folder = root / "images" / split
    if not folder.is_dir():
        raise DatasetError(f"{root} has neither {split}.txt nor images/{split}. Name a split that is there.")
    return images_below(folder)


def label_file(root: Path, image: Path, folder: str = "labels") -> Path:
    """Where the labels of a picture lie: ``labels`` in the place of ``images``."""
    inside = image.relative_to(root).parts
    return (root / folder).joinpath(*inside[1:]).with_suffix(".txt")


def yolo_picture(image: Path, labels: Path) -> Labelled:
    """One picture with the boxes of its label file."""
    if not labels.is_file():
        raise DatasetError(
            f"{image} has no label file {labels}. Finish the download, or write an empty file where there is nothing."
        )
    lines = read_lines(labels)
    if not lines or not image.is_file():
        return Labelled(image, labels, (), ())
    height, width = image_size_px(image)
    rows, kinds = [], []
    for line in lines:
        kind, cx, cy, w, h = numbers(labels, line, line.split(), 5)
        rows.append(((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height))
        kinds.append(int(kind) if kind == int(kind) else -1)
    return Labelled(image, labels, rows, kinds, size_px=(height, width))
