"""The course of a detector: a set of pictures with boxes at one size. What is a network's own, it adds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..readers.detection import DetectionSet
from ..readers.detection_formats import read_detections
from ..training.course import Described
from .detection import PAD, Answer, Augmentation, Fitted, answer_of, batches, evaluate, fit_all, held_back, letterbox
from .detection_tiles import in_tiles
from .detection_turns import apart, named, together, turned

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the pictures of a set are read: whole, or cut into overlapping tiles where things are small in them."""

    layout: str = "auto"
    grey_as_rgb: bool = False
    lenient: bool = False
    tile_px: int = 0
    """0 takes pictures whole."""
    one_class: str = ""
    """A name under which all classes count as one."""
    zooms: tuple[float, ...] = (1.0,)
    """How many times as large as in its picture a training tile shows things: one set of tiles for each."""
    turns_deg: tuple[float, ...] = (0.0,)
    """How far training pictures are turned before they are cut: one set of tiles for each."""
    empty_frac: float = 0.0
    """Training tiles that show nothing to find, as a share of those that do."""
    pictures: str = "*"
    """The training pictures with such names alone are read, ``*`` standing for anything."""
    held: str = ""
    """Those of them that are held back; a share drawn at random where empty."""

    def read(self, data: Path, split: str) -> DetectionSet:
        """Read one split. Raises DatasetError."""
        return in_tiles(self._whole(data, split), self.tile_px, empty=split != "train")

    def learned(self, data: Path, held_frac: float) -> tuple[DetectionSet, DetectionSet]:
        """(what is learned from, what is held back) of the training pictures. Raises DatasetError.

        Whole pictures are held back: tiles of one picture overlap, so none of it may be on both sides.
        """
        whole = named(self._whole(data, "train"), self.pictures)
        train, held = apart(whole, self.held) if self.held else held_back(whole, held_frac)
        return self._tiles(train), in_tiles(held, self.tile_px)

    def _tiles(self, train: DetectionSet) -> DetectionSet:
        views = [turned(train, angle) for angle in self.turns_deg]
        if not self.tile_px:
            return together(views)
        return together([self._zoomed(view, zoom) for view in views for zoom in self.zooms])

    def _zoomed(self, view: DetectionSet, zoom: float) -> DetectionSet:
        """Tiles with something to find, and between them as many of the others as are wanted, evenly spread."""
        tiles = in_tiles(view, round(self.tile_px / zoom), empty=self.empty_frac > 0)
        shown = np.array([len(boxes) > 0 for boxes in tiles.boxes])
        empty = np.flatnonzero(~shown & np.array([_half_covered(tiles.pixels(at)) for at in range(len(tiles))]))
        most = min(len(empty), round(self.empty_frac * int(shown.sum())))
        kept = empty[np.linspace(0, len(empty) - 1, most).round().astype(int)] if most else empty[:0]
        return tiles.take(np.sort(np.concatenate([np.flatnonzero(shown), kept])), tiles.name)

    def _whole(self, data: Path, split: str) -> DetectionSet:
        found = read_detections(data, split, layout=self.layout, grey_as_rgb=self.grey_as_rgb, lenient=self.lenient)
        if self.one_class:
            labels = tuple(np.zeros_like(label) for label in found.labels)
            found = replace(found, labels=labels, classes=(self.one_class,))
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectionCourse(ABC):
    """A detection set at one size, and the switches of the network."""

    network: str
    size: str
    switches: Mapping[str, Any]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the usual training."""
    metric: str = "ap50_95"
    train: DetectionSet
    held: DetectionSet
    data: Path
    reading: Reading
    licence: str
    fitted: tuple[Fitted, ...]
    held_fitted: tuple[Fitted, ...]
    edge_px: int
    batch: int
    seed: int
    augmentation: Augmentation
    max_overlap: float = 0.6
    """Largest that two answers of one class may have."""
    gsd_range_m: tuple[float, float] = (0.1, 30.0)
    """Ground sample distances that the network is good for: about those that it learned from."""

    @property
    @abstractmethod
    def notes(self) -> Mapping[str, Any]:
        """What the checkpoint keeps besides; JSON values only."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        """``loss`` and its parts."""

    @abstractmethod
    def deployed(self, network: nn.Module) -> nn.Module:
        """The network as it is exported: uint8 pictures in, boxes before suppression out."""

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return max(1, len(self.fitted) // self.batch)

    def build(self) -> nn.Module:
        """The network with fresh weights from torch's current seed."""
        from ..registry import build_network

        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterable[Any]:
        """Random views; see ``detection.batches``."""
        return batches(
            self.fitted,
            edge_px=self.edge_px,
            batch=self.batch,
            settings=self.augmentation,
            seed=self.seed,
            epoch=epoch,
        )

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Scores on the pictures held back."""
        return self._judged(self._answer(network), self.held, self.held_fitted)

    def test(self, network: nn.Module) -> Mapping[str, float]:
        """Scores on the test pictures."""
        return self.figures(self._answer(network))

    def figures(self, answer: Answer) -> Mapping[str, float]:
        """Scores of a package's answers on the test pictures."""
        test = self.reading.read(self.data, "test")
        return self._judged(answer, test, tuple(fit_all(test, self.edge_px)))

    def tiles(self, split: str) -> Any:
        """Letterboxed pictures of ``train`` or ``test``, which an export is proven on."""
        from ..datasets import Chips

        fitted = self.fitted if split == "train" else fit_all(self.reading.read(self.data, split), self.edge_px)
        pixels = np.stack([letterbox(one, self.edge_px)[0] for one in fitted])
        labels = np.full(len(pixels), -1, dtype=np.int64)
        return Chips(f"{self.data.name}/{split}, letterboxed", pixels, labels, self.train.classes)

    def describe(self) -> Described:
        """What the checkpoint says about itself."""
        return Described(
            classes=self.train.classes,
            bands=("red", "green", "blue"),
            edge_px=self.edge_px,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            dataset=self.data.name,
            licence=self.licence,
            notes=self.notes,
            gsd_range_m=self.gsd_range_m,
        )

    def _answer(self, network: nn.Module) -> Answer:
        return answer_of(self.deployed(network).eval())

    def _judged(self, answer: Answer, pictures: DetectionSet, fitted: tuple[Fitted, ...]) -> Mapping[str, float]:
        scores = evaluate(answer, pictures, fitted, edge_px=self.edge_px, max_overlap=self.max_overlap).as_dict()
        return {name: value for name, value in scores.items() if not np.isnan(value)}


def require_boxes(data: Path, held: DetectionSet) -> None:
    """Raise DatasetError where the pictures held back show nothing to find."""
    if not held.count:
        raise DatasetError(f"{data.name}: the {len(held)} pictures held back show no box. Raise held_frac.")


def _half_covered(pixels: NDArray[np.uint8]) -> bool:
    """Whether half of a tile at least lies on its picture, which may have been turned."""
    return bool((pixels != PAD).any(0).mean() >= 0.5)
