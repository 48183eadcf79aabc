"""Hyperspectral cubes with LiDAR and labelled pixels: IDTReeS plots, Houston2013's labelled pixels, plain arrays.

``<folder>/hsi.npy`` (rows, cols, bands), ``lidar.npy`` (rows, cols), ``train.npy`` and ``test.npy`` (rows, cols) uint8,
0 where unlabelled, is the plain layout. A label map that a set ships says which pixels train and which test; ``fields``
says which pixels belong together, so that a split can keep neighbours on one side.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .hyperspectral import read_cube, read_matlab

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
HOUSTON = (
    *("healthy grass", "stressed grass", "synthetic grass", "trees", "soil", "water", "residential", "commercial"),
    *("road", "highway", "railway", "parking lot 1", "parking lot 2", "tennis court", "running track"),
)
LEAST_CROWNS = 10
"""Species with fewer crowns in the training plots are no class."""
_TEST_FRAC, _MOST_TEST_FRAC, _SPLIT_SEED = 0.3, 0.5, 20250


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One grid. ``hsi``: (bands, rows, cols), ``lidar``: (lidar bands, rows, cols), float32 in the sensors' units.

    ``train``, ``test``: (rows, cols) labels from 1, 0 for none. ``fields``: (rows, cols) numbers of what lies together.
    ``origin``: column and row of its upper left pixel on a common grid, where known.
    """

    name: str
    hsi: Float32Array
    lidar: Float32Array
    train: Int64Array
    test: Int64Array
    fields: Int64Array
    origin: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LandCoverSet:
    """Scenes with one list of classes."""

    name: str
    classes: tuple[str, ...]
    scenes: tuple[Scene, ...]
    patched: bool = True
    """Whether pixels have neighbours; without, a patch is one pixel."""

    def counts(self, split: str) -> list[int]:
        """Labelled pixels by class."""
        maps = (getattr(scene, split).ravel() for scene in self.scenes)
        many = np.bincount(np.concatenate(list(maps)), minlength=len(self.classes) + 1)[1:]
        return [int(count) for count in many]


def read_land_cover(folder: Path, split: str = "disjoint") -> LandCoverSet:
    """The set in ``folder``; ``split``: ``disjoint`` (neighbours on one side), ``given`` (as the set has it).

    Raises DatasetError for missing LiDAR, grids that differ, no data inside, and folders of no known layout.
    """
    if split not in ("disjoint", "given"):
        raise DatasetError(f"There is no split {split!r} in a file. Use 'disjoint' or 'given'.")
    if (folder / "crowns.csv").is_file():
        return _read_idtrees(folder)
    if (folder / "HSI_TrSet.mat").is_file():
        return _read_houston(folder, split)
    if (folder / "hsi.npy").is_file():
        return _read_plain(folder)
    raise DatasetError(
        f"{folder} holds no hyperspectral and LiDAR set: no crowns.csv, HSI_TrSet.mat or hsi.npy. Give one of them."
    )


def redrawn(source: LandCoverSet, seed: int) -> LandCoverSet:
    """The same counts by class and split drawn at random from all labelled pixels: what leaks, for comparison."""
    rng = np.random.default_rng((_SPLIT_SEED, seed))
    maps = [scene.train + scene.test for scene in source.scenes]
    flat = np.concatenate([labels.ravel() for labels in maps])
    train, test = np.zeros_like(flat), np.zeros_like(flat)
    for number, count in enumerate(source.counts("train"), start=1):
        drawn = rng.permutation(np.flatnonzero(flat == number))
        train[drawn[:count]] = number
        test[drawn[count:]] = number
    ends = np.cumsum([labels.size for labels in maps])[:-1]
    parts = zip(source.scenes, np.split(train, ends), np.split(test, ends), strict=True)
    scenes = (replace(s, train=a.reshape(s.train.shape), test=b.reshape(s.test.shape)) for s, a, b in parts)
    return replace(source, name=f"{source.name}, random split", scenes=tuple(scenes))


def overlap_frac(source: LandCoverSet, patch: int) -> float:
    """Share of test pixels that lie inside the patch of a training pixel; on the common grid where scenes have one.

    Raises DatasetError for pixels without a place.
    """
    if not source.patched:
        raise DatasetError(f"{source.name} holds pixels without a place; nobody can say which patches overlap.")
    seen: set[tuple[object, int, int]] = set()
    for scene in source.scenes:
        for row, col in np.argwhere(scene.train > 0):
            seen |= {_place(scene, r, c) for r, c in _covered(int(row), int(col), patch)}
    tests = [_place(scene, int(r), int(c)) for scene in source.scenes for r, c in np.argwhere(scene.test > 0)]
    return sum(place in seen for place in tests) / max(len(tests), 1)


def _covered(row: int, col: int, patch: int) -> list[tuple[int, int]]:
    span = range(-(patch // 2), patch - patch // 2)
    return [(row + down, col + right) for down in span for right in span]


def _place(scene: Scene, row: int, col: int) -> tuple[object, int, int]:
    if scene.origin is None:
        return scene.name, row, col
    return "", row + round(scene.origin[1]), col + round(scene.origin[0])


def _read_idtrees(folder: Path) -> LandCoverSet:
    with (folder / "crowns.csv").open(encoding="utf-8", newline="") as file:
        crowns = [crown for crown in csv.DictReader(file) if crown["taxonID"]]
    plots = {split: (folder / f"{split}.txt").read_text(encoding="utf-8").split() for split in ("train", "test")}
    taught = [crown["taxonID"] for crown in crowns if crown["plot"] in plots["train"]]
    classes = tuple(sorted(taxon for taxon in set(taught) if taught.count(taxon) >= LEAST_CROWNS))
    if len(classes) < 2:
        raise DatasetError(f"{folder} has {len(classes)} species with {LEAST_CROWNS} crowns in train.txt. Add plots.")
    scenes = [
        _plot(folder, name, [crown for crown in crowns if crown["plot"] == name], classes, split)
        for split, names in plots.items()
        for name in names
    ]
    return LandCoverSet("IDTReeS", classes, tuple(scenes))


def _plot(folder: Path, name: str, crowns: Sequence[dict[str, str]], classes: tuple[str, ...], split: str) -> Scene:
    hsi, place = _raster(folder / "hsi" / f"{name}.tif", f"the cube of {name}")
    lidar, other = _raster(folder / "chm" / f"{name}.tif", f"the LiDAR heights of {name}")
    if hsi.shape[1:] != lidar.shape[1:] or place != other:
        raise DatasetError(
            f"{name}: cube {hsi.shape[1:]} and LiDAR {lidar.shape[1:]} lie on different grids or places. Resample "
            "the LiDAR to the cube's grid."
        )
    labels = _crown_labels(crowns, classes, hsi.shape[1:])
    nothing = np.zeros_like(labels)
    train, test = (labels, nothing) if split == "train" else (nothing, labels)
    return Scene(name, hsi, lidar, train, test, nothing, place)


def _crown_labels(crowns: Sequence[dict[str, str]], classes: tuple[str, ...], shape: tuple[int, ...]) -> Int64Array:
    """Pixels whose centre lies in crowns of one species; where species overlap nothing is said."""
    rows, cols = (np.arange(size) + 0.5 for size in shape)
    votes = np.zeros((len(classes) + 1, *shape), dtype=bool)
    for crown in crowns:
        down = (rows >= float(crown["top_px"])) & (rows < float(crown["bottom_px"]))
        right = (cols >= float(crown["left_px"])) & (cols < float(crown["right_px"]))
        taxon = crown["taxonID"]
        votes[classes.index(taxon) + 1 if taxon in classes else 0] |= down[:, None] & right
    alone = votes.sum(axis=0) == 1
    labels: Int64Array = np.where(alone, votes.argmax(axis=0), 0).astype(np.int64)
    return labels


def _raster(path: Path, what: str) -> tuple[Float32Array, tuple[float, float]]:
    """Pixels and the grid position of the upper left one."""
    import rasterio
    from rasterio.errors import RasterioError

    if not path.is_file():
        raise DatasetError(f"{path} is missing: {what}. Add it: the network needs both sensors on one grid.")
    try:
        with rasterio.open(path) as image:
            pixels = image.read(masked=True)
            step = image.transform
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Fetch it again.") from error
    empty = int(np.ma.getmaskarray(pixels).sum())
    values: Float32Array = np.ma.getdata(pixels).astype(np.float32)
    empty = empty or int((~np.isfinite(values)).sum())
    if empty:
        raise DatasetError(f"{path}: {empty} values of {what} are no data. Fill them, or leave the plot out.")
    return values, (step.c / step.a, step.f / step.e)


def _read_houston(folder: Path, split: str) -> LandCoverSet:
    names = ("HSI_TrSet", "LiDAR_TrSet", "LiDAR_patch_TrSet", "TrLabel")
    hsi, lidar, around, labels = (_variable(folder / f"{name}.mat") for name in names)
    if not len(hsi) == len(lidar) == len(around) == len(labels):
        raise DatasetError(f"{folder}: cube, LiDAR and labels have different numbers of pixels. Fetch them again.")
    truth: Int64Array = labels.reshape(-1, 1).astype(np.int64)
    windows = around.reshape(len(lidar), lidar.shape[1], -1).transpose(0, 2, 1)
    fields = _fields_of(lidar, windows, truth[:, 0]).reshape(-1, 1)
    if split == "given":
        tested = np.zeros(len(truth), dtype=bool)
        tested[[int(row) for row in (folder / "test.txt").read_text(encoding="utf-8").split()]] = True
    else:
        tested = np.isin(fields[:, 0], _test_fields(truth[:, 0], fields[:, 0]))
    test = np.where(tested[:, None], truth, 0)
    pixels = (np.ascontiguousarray(values.T, dtype=np.float32)[:, :, None] for values in (hsi, lidar))
    cube, heights = pixels
    scene = Scene("houston2013", cube, heights, truth - test, test, fields)
    return LandCoverSet("Houston2013 pixels", HOUSTON, (scene,), patched=False)


def _variable(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise DatasetError(f"{path} is missing. Both sensors and the labels are needed; fetch the set again.")
    return next(iter(read_matlab(path).values()))


def _fields_of(lidar: NDArray[Any], windows: NDArray[Any], truth: Int64Array) -> Int64Array:
    """(n,) numbers of connected groups: pixels of one class of which one lies in the LiDAR window of the other.

    ``lidar``: (n, features), ``windows``: (n, pixels, features). The file tells no positions, but a pixel is recognised
    by its features, which are the same numbers wherever they occur.
    """
    centres: dict[bytes, list[int]] = {}
    for number, features in enumerate(np.ascontiguousarray(lidar)):
        centres.setdefault(features.tobytes(), []).append(number)
    parent = list(range(len(lidar)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for number, window in enumerate(np.ascontiguousarray(windows)):
        for features in window:
            for other in centres.get(features.tobytes(), ()):
                if truth[other] == truth[number]:
                    parent[root(number)] = root(other)
    return np.array([root(number) for number in range(len(lidar))], dtype=np.int64)


def _test_fields(truth: Int64Array, fields: Int64Array) -> list[int]:
    """Whole fields for the test, three tenths of each class or somewhat more; a class of one field is not tested."""
    chosen: set[int] = set()
    for label in np.unique(truth):
        own, many = np.unique(fields[truth == label], return_counts=True)
        order = random.Random(_SPLIT_SEED + int(label)).sample(range(len(own)), len(own))
        taken = 0
        for at in order:
            if taken < _TEST_FRAC * many.sum() and taken + many[at] <= _MOST_TEST_FRAC * many.sum():
                chosen.add(int(own[at]))
                taken += int(many[at])
    return sorted(chosen)


def _read_plain(folder: Path) -> LandCoverSet:
    if not (folder / "lidar.npy").is_file():
        raise DatasetError(f"{folder / 'lidar.npy'} is missing: the LiDAR heights on the cube's grid. Add it.")
    hsi = read_cube(folder / "hsi.npy").values
    lidar = np.load(folder / "lidar.npy", allow_pickle=False).astype(np.float32)
    maps = [np.load(folder / f"{name}.npy", allow_pickle=False).astype(np.int64) for name in ("train", "test")]
    if any(grid.shape != hsi.shape[1:] for grid in (lidar, *maps)):
        shapes = ", ".join(str(grid.shape) for grid in (lidar, *maps))
        raise DatasetError(f"{folder}: cube {hsi.shape[1:]}, LiDAR and label maps {shapes} differ. Give one grid.")
    if not np.isfinite(lidar).all():
        raise DatasetError(f"{folder / 'lidar.npy'} holds values that are no number. Fill them first.")
    listed = folder / "classes.txt"
    most = max(int(grid.max()) for grid in maps)
    names = listed.read_text(encoding="utf-8").split() if listed.is_file() else [f"class {k + 1}" for k in range(most)]
    if most < 2 or len(names) < most:
        raise DatasetError(f"{folder}: labels go up to {most}, {len(names)} classes are named. Correct classes.txt.")
    scene = Scene(folder.name, hsi, lidar[None], maps[0], maps[1], np.zeros_like(maps[0]))
    return LandCoverSet(folder.name, tuple(names), (scene,))
