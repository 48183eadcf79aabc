"""How SSCDH is trained: YOLOv5's recipe on a folder of pictures with boxes.

``data`` is any layout that ``readers.detection_formats`` knows. A tenth to an eighth of the training pictures is held
back and chooses the epoch; the test pictures are looked at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DatasetError
from ..readers.detection import DetectionSet
from ..readers.detection_formats import read_detections
from ..training.course import Described
from .detection import Answer, Augmentation, Fitted, anchors_for, answer_of, batches, evaluate, fit_all, held_back
from .detection_tiles import in_tiles

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

    def read(self, data: Path, split: str) -> DetectionSet:
        """Read one split. Raises DatasetError."""
        found = read_detections(data, split, layout=self.layout, grey_as_rgb=self.grey_as_rgb, lenient=self.lenient)
        if self.one_class:
            labels = tuple(np.zeros_like(label) for label in found.labels)
            found = replace(found, labels=labels, classes=(self.one_class,))
        return in_tiles(found, self.tile_px, empty=split != "train")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SscdhCourse:
    """A detection set at one size, the switches of the network and of its loss."""

    network: str
    size: str
    switches: Mapping[str, Any]
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
    box_loss: str
    wise_momentum: float
    augmentation: Augmentation
    recipe: Mapping[str, Any] = field(default_factory=lambda: {"ema_decay": 0.99})
    """What differs from the usual training."""

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

    def loss(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        """``loss``, ``box``, ``object``, ``class``."""
        from ..zoo.sscdh import SSCDH
        from ..zoo.sscdh_loss import detection_loss

        assert isinstance(network, SSCDH)
        maps = network(batch["image"].float() / 255.0)
        return detection_loss(
            network, maps, batch["targets"], edge_px=self.edge_px, box_loss=self.box_loss, momentum=self.wise_momentum
        )

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Scores on the pictures held back."""
        return self._score(network, self.held, self.held_fitted)

    def test(self, network: nn.Module) -> Mapping[str, float]:
        """Scores on the test pictures."""
        test = self.reading.read(self.data, "test")
        return self._score(network, test, tuple(fit_all(test, self.edge_px)))

    def figures(self, answer: Answer) -> Mapping[str, float]:
        """Scores of a package's answers on the test pictures."""
        test = self.reading.read(self.data, "test")
        return self._judged(answer, test, tuple(fit_all(test, self.edge_px)))

    def tiles(self, split: str) -> Any:
        """Letterboxed pictures of ``train`` or ``test``, which an export is proven on."""
        from ..datasets import Chips
        from .detection import letterbox

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
            notes={"box_loss": self.box_loss, "train_images": len(self.train), "held_images": len(self.held)},
        )

    def _score(self, network: nn.Module, pictures: DetectionSet, fitted: tuple[Fitted, ...]) -> Mapping[str, float]:
        from ..zoo.sscdh import SSCDH
        from ..zoo.sscdh_decode import Deployed

        assert isinstance(network, SSCDH)
        return self._judged(answer_of(Deployed(network, self.edge_px).eval()), pictures, fitted)

    def _judged(self, answer: Answer, pictures: DetectionSet, fitted: tuple[Fitted, ...]) -> Mapping[str, float]:
        scores = evaluate(answer, pictures, fitted, edge_px=self.edge_px).as_dict()
        return {name: value for name, value in scores.items() if not np.isnan(value)}


def course(
    data: Path,
    *,
    size: str,
    seed: int,
    network: str = "sscdh",
    edge_px: int = 256,
    batch: int = 16,
    box_loss: str | None = None,
    attention: bool | None = None,
    head: str | None = None,
    mosaic: float = 1.0,
    flip: float = 0.0,
    wise_momentum: float = 0.0,
    held_frac: float = 0.125,
    layout: str = "auto",
    grey_as_rgb: bool = False,
    lenient: bool = False,
    tile_px: int = 0,
    one_class: str = "",
    licence: str = "unknown",
) -> SscdhCourse:
    """The course on ``data``. What ``box_loss``, ``attention`` and ``head`` are not told is as in ``network``:
    ``wise``, True and ``context`` of SSCDH, ``ciou``, False and ``coupled`` of its baseline ``yolov5n``.

    ``wise_momentum`` of Wise-IoU's running mean is 1 - 0.05^(1 / (34 steps)) unless given. Anchors are YOLOv5's where
    they can serve 98 % of the boxes, otherwise estimated on the training pictures. ``layout`` to ``one_class``: see
    ``Reading``. Raises DatasetError.
    """
    from ..zoo.sscdh import ANCHORS_PX

    reading = Reading(layout=layout, grey_as_rgb=grey_as_rgb, lenient=lenient, tile_px=tile_px, one_class=one_class)
    whole = reading.read(data, "train")
    train, held = held_back(whole, held_frac)
    if not held.count:
        raise DatasetError(f"{data.name}: the {len(held)} pictures held back show no box. Raise held_frac.")
    fitted = tuple(fit_all(train, edge_px))
    full = network == "sscdh"
    attention = full if attention is None else attention
    head = head or ("context" if full else "coupled")
    box_loss = box_loss or ("wise" if full else "ciou")
    switches: dict[str, Any] = {"classes": len(whole.classes), "attention": attention, "head": head}
    anchors = anchors_for(fitted, np.array(ANCHORS_PX))
    if not np.array_equal(anchors, np.array(ANCHORS_PX)):
        switches["anchors_px"] = anchors.tolist()
    made = SscdhCourse(
        network=network,
        size=size,
        switches=switches,
        train=train,
        held=held,
        data=data,
        reading=reading,
        licence=licence,
        fitted=fitted,
        held_fitted=tuple(fit_all(held, edge_px)),
        edge_px=edge_px,
        batch=batch,
        seed=seed,
        box_loss=box_loss,
        wise_momentum=wise_momentum,
        augmentation=Augmentation(mosaic=mosaic, flip=flip),
    )
    return made if wise_momentum else replace(made, wise_momentum=1.0 - 0.05 ** (1.0 / (34 * made.steps_per_epoch)))
