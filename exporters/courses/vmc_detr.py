"""How VMC-DETR is trained: the paper's recipe on a folder of pictures with boxes.

``data`` is any layout that ``readers.detection_formats`` knows. An eighth of the training pictures is held back and
chooses the epoch; the test pictures are looked at once. Pictures are letterboxed, never stretched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FitError
from ..registry import network_named, size_of
from .detection import Augmentation, fit_all, held_back
from .detection_course import DetectionCourse, Reading, require_boxes
from .detection_tiles import in_tiles

if TYPE_CHECKING:
    from torch import Tensor, nn

WARMUP_STEPS, PAPER_EPOCHS = 2000, 150
DENOISING_COPIES = 100
NO_SUPPRESSION = 1.0
"""Largest overlap that two answers of one class may have: any."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VmcDetrCourse(DetectionCourse):
    """A detection set at one size, and the switches of the network."""

    denoise: bool
    copies: int
    """Of the true boxes of a picture, which a step denoises."""
    max_overlap: float = NO_SUPPRESSION

    @property
    def notes(self) -> Mapping[str, Any]:
        """How many pictures, or squares of ``tile_px``, were learned from and held back; copies a step denoises."""
        counts = {"train_images": len(self.train), "held_images": len(self.held)}
        return {**counts, "tile_px": self.reading.tile_px, "copies": self.copies}

    def loss(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        """``loss``, ``class``, ``box``, ``giou``, ``denoising``."""
        from ..zoo.vmc_detr import VMCDETR
        from ..zoo.vmc_detr_loss import detection_loss

        assert isinstance(network, VMCDETR)
        image, targets = batch["image"].float() / 255.0, batch["targets"]
        return detection_loss(network, image, targets, denoise=self.denoise, copies=self.copies)

    def deployed(self, network: nn.Module) -> nn.Module:
        """The network with its answers as boxes."""
        from ..zoo.vmc_detr import VMCDETR
        from ..zoo.vmc_detr_deploy import Deployed

        assert isinstance(network, VMCDETR)
        return Deployed(network)


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
    queries: int = 0,
    denoise: bool = True,
    copies: int = DENOISING_COPIES,
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

    ``backbone``, ``mfadm`` and ``cagfm`` switch one module of the network. ``queries`` 0: the paper's 300;
    fewer, and fewer ``copies`` to denoise, make a step cheaper. ``tile_px``: cut pictures into squares of that size
    first; of the training's, those with a box. Raises DatasetError, FitError for fewer than one copy.
    """
    if copies < 1:
        raise FitError(f"A step cannot denoise {copies} copies. Give at least one, or denoise=False.")
    reading = Reading(layout=layout, grey_as_rgb=grey_as_rgb, lenient=lenient, tile_px=tile_px)
    whole = replace(reading, tile_px=0).read(data, "train")
    train, held = held_back(whole, held_frac)
    train, held = in_tiles(train, tile_px, empty=False), in_tiles(held, tile_px)
    require_boxes(data, held)
    edge_px = edge_px or size_of(network_named(network), size).input[-1]
    chosen: dict[str, Any] = {"backbone": backbone or None, "mfadm": mfadm, "cagfm": cagfm, "queries": queries or None}
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
        copies=copies,
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
