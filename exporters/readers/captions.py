"""Pictures with captions, in the three layouts in which RSICD and RSITMD are found.

``captions.json``: a list of ``{"image", "split", "captions"}``; a file in Karpathy's form,
``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}``; or ``train_caps.txt`` beside ``train_filename.txt``,
where line i of the captions belongs to picture i // 5. Pictures lie in ``images/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

PER_PICTURE = 5
_LAYOUTS = "captions.json, a Karpathy-style *.json, or SPLIT_caps.txt with SPLIT_filename.txt"


@dataclass(frozen=True, slots=True)
class Captions:
    """One split. ``captions[i]`` are those of ``pictures[i]``."""

    name: str
    pictures: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, index: Iterable[int], name: str) -> Captions:
        """Some of the pictures, under another name."""
        chosen = list(index)
        return Captions(name, tuple(self.pictures[i] for i in chosen), tuple(self.captions[i] for i in chosen))

    @property
    def texts(self) -> tuple[str, ...]:
        """All captions in order."""
        return tuple(text for texts in self.captions for text in texts)

    @property
    def owner(self) -> NDArray[np.int64]:
        """(texts,): the picture of each caption."""
        return np.repeat(np.arange(len(self)), [len(texts) for texts in self.captions])


def read_captions(root: Path, split: str) -> Captions:
    """One split (``train``, ``val``, ``test``) of a folder in any of the layouts.

    Raises ``DatasetError`` naming the file and the entry for a layout that is not known, an empty split, a picture that
    is not there or has no caption.
    """
    pairs = _pairs(root, split)
    if not pairs:
        raise DatasetError(f"{root} has no picture of split {split!r}. Use train, val or test, as the files name them.")
    for name, texts in pairs:
        if not any(text.strip() for text in texts):
            raise DatasetError(f"{name} in {root} has no caption. Give each picture at least one.")
        if not (root / "images" / name).is_file():
            raise DatasetError(f"There is no {root / 'images' / name}, which the captions name. Fetch the data again.")
    pictures = tuple(root / "images" / name for name, _ in pairs)
    return Captions(f"{root.name}/{split}", pictures, tuple(tuple(texts) for _, texts in pairs))


def read_pictures(paths: Sequence[Path], edge_px: int) -> NDArray[np.uint8]:
    """(n, 3, edge, edge) uint8; pictures of another size are resampled. Raises ``DatasetError``."""
    return np.stack([_picture(path, edge_px) for path in paths])


def _picture(path: Path, edge_px: int) -> NDArray[np.uint8]:
    import warnings

    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                if image.count < 3 or image.dtypes[0] != "uint8":
                    raise DatasetError(
                        f"{path} has {image.count} bands of {image.dtypes[0]}; three of uint8 are needed."
                    )
                shrinks = min(image.width, image.height) > edge_px
                how = Resampling.average if shrinks else Resampling.bilinear
                pixels: NDArray[np.uint8] = image.read((1, 2, 3), out_shape=(3, edge_px, edge_px), resampling=how)
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Fetch it again.") from error
    return pixels


def _pairs(root: Path, split: str) -> list[tuple[str, list[str]]]:
    if (root / f"{split}_caps.txt").is_file():
        return _from_lines(root, split)
    files = [root / "captions.json"] if (root / "captions.json").is_file() else sorted(root.glob("*.json"))
    for path in files:
        table = _json(path)
        try:
            if isinstance(table, list):
                return [(_plain(e["image"]), list(map(str, e["captions"]))) for e in table if e["split"] == split]
            if isinstance(table, dict) and "images" in table:
                entries = [entry for entry in table["images"] if entry["split"] == split]
                return [(_plain(e["filename"]), [str(s["raw"]) for s in e["sentences"]]) for e in entries]
        except (KeyError, TypeError) as error:
            raise DatasetError(f"{path} has an entry that is not understood: {error!r}. Use {_LAYOUTS}.") from error
    raise DatasetError(f"{root} holds no captions. Use {_LAYOUTS}.")


def _from_lines(root: Path, split: str) -> list[tuple[str, list[str]]]:
    texts, names = _lines(root / f"{split}_caps.txt"), _lines(root / f"{split}_filename.txt")
    unique = list(dict.fromkeys(names))  # some releases repeat each name once a caption
    if len(texts) != PER_PICTURE * len(unique):
        raise DatasetError(
            f"{root} has {len(texts)} captions for {len(unique)} pictures of {split!r}; {PER_PICTURE} each are needed."
        )
    return [(_plain(name), texts[PER_PICTURE * i : PER_PICTURE * (i + 1)]) for i, name in enumerate(unique)]


def _plain(name: object) -> str:
    if not isinstance(name, str) or Path(name).name != name:
        raise DatasetError(f"The picture {name!r:.80} is no plain file name. Name files inside images/.")
    return name


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Use {_LAYOUTS}.") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Use {_LAYOUTS}.") from error
