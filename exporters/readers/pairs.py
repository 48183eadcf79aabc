"""Pairs of a hazy and a clear image for training and testing restorers: RICE, SateHaze1k, RSHaze, HazyDet, our own.

Pairs are matched by file name (without the ending). Layouts that are known, below the given folder:

    RICE (1 and 2)   cloud/N.png, label/N.png; or hazy/N.png, clear/N.png; with train.txt and test.txt listing the names
    SateHaze1k       [dataset/]{train,valid,test}/{input,target}/N.png, one folder a subset (thin, moderate, thick)
    RSHaze           {train,test}/{hazy,GT}/NAME.png
    HazyDet          {train,val,test}/{hazy,clean} images/NAME.jpg, with a space or an underscore
    our own          {train,val,test}/{hazy,clear}/NAME.png
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

HAZY = ("hazy", "haze", "cloud", "input", "hazy_images", "hazy images")
CLEAR = ("clear", "label", "target", "GT", "gt", "clean_images", "clean images")
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Aligned images of one split: ``hazy[i]`` and ``clear[i]`` are (3, rows, cols) uint8, sizes may differ by i."""

    name: str
    names: tuple[str, ...]
    hazy: tuple[Pixels, ...]
    clear: tuple[Pixels, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[Pixels, Pixels]]:
        return iter(zip(self.hazy, self.clear, strict=True))

    def take(self, index: Sequence[int], name: str) -> Pairs:
        """The pairs at ``index``, under another name."""
        chosen = [int(place) for place in index]
        return Pairs(
            name,
            tuple(self.names[place] for place in chosen),
            tuple(self.hazy[place] for place in chosen),
            tuple(self.clear[place] for place in chosen),
        )


def read_pairs(root: Path, split: str) -> Pairs:
    """All pairs of ``split`` (``train``, ``val`` or ``test``) below ``root``, in the order of their names.

    DatasetError when the layout is not one of those above, a partner is missing, sizes differ or an image is grey.
    """
    if split not in SPLITS:
        raise DatasetError(f"There is no split {split!r}. Use one of {sorted(SPLITS)}.")
    hazy_folder, clear_folder, listed = _find(root, split)
    hazy, clear = _by_stem(hazy_folder), _by_stem(clear_folder)
    names = sorted(hazy) if listed is None else listed
    _check_complete(names, hazy, clear, hazy_folder, clear_folder)
    pixels = [(read_rgb(hazy[name]), read_rgb(clear[name])) for name in names]
    for name, (one, other) in zip(names, pixels, strict=True):
        if one.shape != other.shape:
            raise DatasetError(
                f"{hazy[name]} is {one.shape[1]} x {one.shape[2]} px, {clear[name]} {other.shape[1]} x "
                f"{other.shape[2]} px. A pair must have one size."
            )
    return Pairs(f"{root.name}/{split}", tuple(names), tuple(p[0] for p in pixels), tuple(p[1] for p in pixels))


def hold_back_pairs(pairs: Pairs, count: int, *, seed: int) -> tuple[Pairs, Pairs]:
    """Split off ``count`` pairs at random: (the rest, those held back)."""
    if not 0 < count < len(pairs):
        raise DatasetError(f"{pairs.name} has {len(pairs)} pairs; {count} cannot be held back. Hold back fewer.")
    order = np.random.default_rng(seed).permutation(len(pairs))
    rest, held = np.sort(order[count:]).tolist(), np.sort(order[:count]).tolist()
    return pairs.take(rest, f"{pairs.name}-fit"), pairs.take(held, f"{pairs.name}-val")


def read_rgb(path: Path) -> Pixels:
    """One image as (3, rows, cols) uint8; a fourth band, the transparency of a PNG, is left out."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                bands, dtype = image.count, image.dtypes[0]
                pixels = image.read(indexes=(1, 2, 3)) if bands in (3, 4) and dtype == "uint8" else None
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Fetch it again.") from error
    if pixels is None:
        what = "is grey" if bands == 1 else f"holds {bands} bands of {dtype}"
        raise DatasetError(f"{path} {what}; red, green and blue of uint8 are needed. Convert it or leave it out.")
    rgb: Pixels = pixels
    return rgb


def _find(root: Path, split: str) -> tuple[Path, Path, list[str] | None]:
    """Folders of the hazy and the clear images, and the names that a list in ``root`` gives the split."""
    for base in (root, root / "dataset"):
        for word in SPLITS[split]:
            if (found := _folders(base / word)) is not None:
                return (*found, None)
    found = _folders(root)
    listed = root / f"{split}.txt"
    if found is None or not listed.is_file():
        raise DatasetError(
            f"{root} holds no pairs for {split!r}: neither {split}/ nor {split}.txt with folders such as hazy/ and "
            f"clear/. Give the folder of one subset; {', '.join(HAZY)} and {', '.join(CLEAR)} are known."
        )
    names = [Path(line).stem for line in listed.read_text(encoding="utf-8").split()]
    if not names:
        raise DatasetError(f"{listed} is empty. It must list one name a line.")
    return (*found, names)


def _folders(base: Path) -> tuple[Path, Path] | None:
    hazy = next((base / name for name in HAZY if (base / name).is_dir()), None)
    clear = next((base / name for name in CLEAR if (base / name).is_dir()), None)
    return None if hazy is None or clear is None else (hazy, clear)


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS}


def _check_complete(
    names: Sequence[str], hazy: dict[str, Path], clear: dict[str, Path], hazy_folder: Path, clear_folder: Path
) -> None:
    if not names:
        raise DatasetError(f"{hazy_folder} holds no image. Fetch the data set again.")
    for folder, found in ((hazy_folder, hazy), (clear_folder, clear)):
        if missing := [name for name in names if name not in found]:
            raise DatasetError(
                f"{folder} lacks {len(missing)} of {len(names)} images, the first {missing[0]!r}. The data set seems "
                "half downloaded: fetch it again."
            )
