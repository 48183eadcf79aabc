"""UAVDT, detection part (Du et al., ECCV 2018): frames of sequences, one label file a sequence.

``UAV-benchmark-M/M0101/img000001.jpg``; ``UAV-benchmark-MOTD_v1.0/GT/M0101_gt_whole.txt`` with
``frame,target,left,top,width,height,out-of-view,occlusion,category`` (1 car, 2 truck, 3 bus); ``M0101_gt_ignore.txt``
with regions to ignore. ``M_attr/train`` and ``M_attr/test`` say which sequence belongs to which split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..errors import DatasetError
from .detection import DetectionSet, Labelled, assemble, images_below, numbers, read_lines

UAVDT_CLASSES = ("car", "truck", "bus")
_GT = "UAV-benchmark-MOTD_v1.0/GT"
_Box = tuple[float, float, float, float]


def read_uavdt(root: Path, split: str, *, every: int = 1, lenient: bool = False) -> DetectionSet:
    """One split, every ``every``-th frame of each sequence; ``all`` takes every sequence. Raises DatasetError."""
    pictures = [picture for name in _sequences(root, split) for picture in _frames(root, name, every)]
    return assemble(f"{root.name}/{split}", pictures, UAVDT_CLASSES, lenient=lenient)


def _sequences(root: Path, split: str) -> list[str]:
    folder = root / "UAV-benchmark-M"
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. Finish the download, or correct the path.")
    if split == "all":
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    found = sorted(path.name.partition("_")[0] for path in (root / "M_attr" / split).glob("M*_attr.txt"))
    if not found:
        raise DatasetError(f"{root / 'M_attr' / split} names no sequences. Use train, test or all.")
    return found


def _frames(root: Path, name: str, every: int) -> Iterator[Labelled]:
    source = root / _GT / f"{name}_gt_whole.txt"
    boxes = _by_frame(source)
    ignore_file = source.with_name(f"{name}_gt_ignore.txt")
    ignored = _by_frame(ignore_file) if ignore_file.is_file() else {}
    for image in list(images_below(root / "UAV-benchmark-M" / name))[::every]:
        number = int("".join(filter(str.isdigit, image.stem)) or -1)
        mine = boxes.get(number, [])
        regions = [box for box, _ in ignored.get(number, [])]
        yield Labelled(image, source, [box for box, _ in mine], [kind - 1 for _, kind in mine], regions)


def _by_frame(path: Path) -> dict[int, list[tuple[_Box, int]]]:
    found: dict[int, list[tuple[_Box, int]]] = defaultdict(list)
    for line in read_lines(path):
        frame, _, left, top, width, height, _, _, kind = numbers(path, line, line.split(","), 9)
        found[int(frame)].append(((left, top, left + width, top + height), int(kind)))
    return found
