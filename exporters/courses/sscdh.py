"""How SSCDH is trained: YOLOv5's recipe on a folder of pictures with boxes.

``data`` is any layout that ``readers.detection_formats`` knows. An eighth of the training pictures is held back, all
tiles of a picture with it, and chooses the epoch; the test pictures are looked at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .detection import Augmentation, anchors_for, fit_all
from .detection_course import DetectionCourse, Reading, require_boxes

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SscdhCourse(DetectionCourse):
    """A detection set at one size, the switches of the network and of its loss."""

    box_loss: str
    wise_momentum: float
    recipe: Mapping[str, Any] = field(default_factory=lambda: {"ema_decay": 0.99})

    @property
    def notes(self) -> Mapping[str, Any]:
        """The loss, and how many pictures were learned from and held back."""
        return {"box_loss": self.box_loss, "train_images": len(self.train), "held_images": len(self.held)}

    def loss(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        """``loss``, ``box``, ``object``, ``class``."""
        from ..zoo.sscdh import SSCDH
        from ..zoo.sscdh_loss import detection_loss

        assert isinstance(network, SSCDH)
        maps = network(batch["image"].float() / 255.0)
        return detection_loss(
            network, maps, batch["targets"], edge_px=self.edge_px, box_loss=self.box_loss, momentum=self.wise_momentum
        )

    def deployed(self, network: nn.Module) -> nn.Module:
        """The network with its decoding, for pictures of the course's size."""
        from ..zoo.sscdh import SSCDH
        from ..zoo.sscdh_decode import Deployed

        assert isinstance(network, SSCDH)
        return Deployed(network, self.edge_px)


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
    zooms: Sequence[float] = (1.0,),
    turns_deg: Sequence[float] = (0.0,),
    empty_frac: float = 0.0,
    pictures: str = "*",
    held: str = "",
    gsd_range_m: Sequence[float] = (0.1, 30.0),
    licence: str = "unknown",
) -> SscdhCourse:
    """The course on ``data``. What ``box_loss``, ``attention`` and ``head`` are not told is as in ``network``:
    ``wise``, True and ``context`` of SSCDH, ``ciou``, False and ``coupled`` of its baseline ``yolov5n``.

    ``wise_momentum`` of Wise-IoU's running mean is 1 - 0.05^(1 / (34 steps)) unless given. Anchors are YOLOv5's where
    they can serve 98 % of the boxes, otherwise estimated on the training pictures. ``layout`` to ``held``: see
    ``Reading``. Raises DatasetError.
    """
    from ..zoo.sscdh import ANCHORS_PX

    reading = Reading(
        layout=layout,
        grey_as_rgb=grey_as_rgb,
        lenient=lenient,
        tile_px=tile_px,
        one_class=one_class,
        zooms=tuple(zooms),
        turns_deg=tuple(turns_deg),
        empty_frac=empty_frac,
        pictures=pictures,
        held=held,
    )
    train, kept = reading.learned(data, held_frac)
    require_boxes(data, kept)
    fitted = tuple(fit_all(train, edge_px))
    full = network == "sscdh"
    attention = full if attention is None else attention
    head = head or ("context" if full else "coupled")
    box_loss = box_loss or ("wise" if full else "ciou")
    switches: dict[str, Any] = {"classes": len(train.classes), "attention": attention, "head": head}
    anchors = anchors_for(fitted, np.array(ANCHORS_PX))
    if not np.array_equal(anchors, np.array(ANCHORS_PX)):
        switches["anchors_px"] = anchors.tolist()
    made = SscdhCourse(
        network=network,
        size=size,
        switches=switches,
        train=train,
        held=kept,
        data=data,
        reading=reading,
        licence=licence,
        fitted=fitted,
        held_fitted=tuple(fit_all(kept, edge_px)),
        edge_px=edge_px,
        batch=batch,
        seed=seed,
        box_loss=box_loss,
        wise_momentum=wise_momentum,
        augmentation=Augmentation(mosaic=mosaic, flip=flip),
        gsd_range_m=(float(gsd_range_m[0]), float(gsd_range_m[1])),
    )
    return made if wise_momentum else replace(made, wise_momentum=1.0 - 0.05 ** (1.0 / (34 * made.steps_per_epoch)))
