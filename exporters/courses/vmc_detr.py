"""How VMC-DETR is trained: the paper's recipe on a folder of pictures with boxes.

``data`` is any layout that ``readers.detection_formats`` knows. An eighth of the training pictures is held back and
chooses the epoch; the test pictures are looked at once. Pictures are letterboxed, never stretched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DatasetError
from ..readers.detection import DetectionSet
from ..readers.detection_formats import read_detections
from ..registry import network_named, size_of
from ..training.course import Described
from .detection import Answer, Augmentation, Fitted, answer_of, batches, evaluate, fit_all, held_back, letterbox
from .detection_tiles import in_tiles

if TYPE_CHECKING:
    from torch import Tensor, nn

WARMUP_STEPS, PAPER_EPOCHS = 2000, 150
NO_SUPPRESSION = 1.0
"""Largest overlap that two answers of one class may have: any."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VmcDetrCourse:
    """A detection set at one size, and the switches of the network."""

    network: str
    size: str
    switches: Mapping[str, Any]
    recipe: Mapping[str, Any]
    metric: str = "ap50_95"
    train: DetectionSet
    held: DetectionSet
    data: Path
    reading: Mapping[str, Any]
    licence: str
    fitted: tuple[Fitted, ...]
    held_fitted: tuple[Fitted, ...]
    edge_px: int
    batch: int
    seed: int
    denoise: bool
    tile_px: int
    """Of the squares that pictures are cut into; 0 for whole pictures."""
    augmentation: Augmentation

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
        """``loss``, ``class``, ``box``, ``giou``, ``denoising``."""
        from ..zoo.vmc_detr import VMCDETR
        from ..zoo.vmc_detr_loss import detection_loss

        assert isinstance(network, VMCDETR)
        return detection_loss(network, batch["image"].float() / 255.0, batch["targets"], denoise=self.denoise)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Scores on the pictures held back."""
        return self._score(network, self.held, self.held_fitted)

    def test(self, network: nn.Module) -> Mapping[str, float]:
        """Scores on the test pictures."""
        test = in_tiles(self._read("test"), self.tile_px)
        return self._score(network, test, tuple(fit_all(test, self.edge_px)))

    def figures(self, answer: Answer) -> Mapping[str, float]:
        """Scores of a package's answers on the test pictures."""
        test = in_tiles(self._read("test"), self.tile_px)
        return self._judged(answer, test, tuple(fit_all(test, self.edge_px)))

    def tiles(self, split: str) -> Any:
        """Letterboxed pictures of ``train`` or ``test``, which an export is proven on."""
        from ..datasets import Chips

        fitted = self.fitted if split == "train" else fit_all(in_tiles(self._read(split), self.tile_px), self.edge_px)
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
            notes={"train_images": len(self.train), "held_images": len(self.held), "tile_px": self.tile_px},
        )

    def _read(self, split: str) -> DetectionSet:
        return read_detections(self.data, split, **self.reading)

    def _score(self, network: nn.Module, pictures: DetectionSet, fitted: tuple[Fitted, ...]) -> Mapping[str, float]:
        from ..zoo.vmc_detr import VMCDETR
        from ..zoo.vmc_detr_deploy import Deployed

        assert isinstance(network, VMCDETR)
        return self._judged(answer_of(Deployed(network).eval()), pictures, fitted)

    def _judged(self, answer: Answer, pictures: DetectionSet, fitted: tuple[Fitted, ...]) -> Mapping[str, float]:
        scores = evaluate(answer, pictures, fitted, edge_px=self.edge_px, max_overlap=NO_SUPPRESSION).as_dict()
        return {name: value for name, value in scores.items() if not np.isnan(value)}


def course(
    data: Path,
    *,
    size: str,
    seed: int,
    network: str = "vmc_detr",
    edge_px: int = 0,
    batch: int = 8,
    backbone: str = "",
    mfadm: bool | None = None,
    cagfm: bool | None = None,
    denoise: bool = True,
    tile_px: int = 0,
    mosaic: float = 0.0,
    flip: float = 0.0,
    held_frac: float = 0.125,
    layout: str = "auto",
    grey_as_rgb: bool = False,
    lenient: bool = False,
    licence: str = "unknown",
) -> VmcDetrCourse:
    """The course on ``data``; ``network="rtdetr_r18"`` is the baseline. ``edge_px`` 0: that of the size.

    ``backbone``, ``mfadm`` and ``cagfm`` switch one module of the network. ``tile_px``: cut pictures into squares of
    that size first; of the training's, those with a box. Raises DatasetError.
    """
    reading: dict[str, Any] = {"layout": layout, "grey_as_rgb": grey_as_rgb, "lenient": lenient}
    whole = read_detections(data, "train", **reading)
    train, held = held_back(whole, held_frac)
    train, held = in_tiles(train, tile_px, empty=False), in_tiles(held, tile_px)
    if not held.count:
        raise DatasetError(f"{data.name}: the {len(held)} pictures held back show no box. Raise held_frac.")
    edge_px = edge_px or size_of(network_named(network), size).input[-1]
    chosen: dict[str, Any] = {"backbone": backbone or None, "mfadm": mfadm, "cagfm": cagfm}
    switches = {name: value for name, value in chosen.items() if value is not None}
    fitted = tuple(fit_all(train, edge_px))
    return VmcDetrCourse(
        network=network,
        size=size,
        switches={"classes": len(whole.classes), "edge_px": edge_px, **switches},
        recipe=recipe_of(max(1, len(fitted) // batch)),
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
        denoise=denoise,
        tile_px=tile_px,
        augmentation=Augmentation(mosaic=mosaic, flip=flip),
    )


def recipe_of(steps_per_epoch: int) -> dict[str, Any]:
    """The paper's: AdamW at a constant rate for 150 epochs after 2000 steps of warm-up, at most a fifth of all."""
    return {
        "epochs": PAPER_EPOCHS,
        "lr": 1e-4,
        "weight_decay": 1e-4,
        "schedule": "constant",
        "warmup_frac": min(0.2, WARMUP_STEPS / (steps_per_epoch * PAPER_EPOCHS)),
        "ema_decay": 0.9999,
        "clip_norm": 0.1,
    }
