"""The course of the pool's classifiers, and of any network of one's own that answers logits: labelled chips.

The recipe is for small sets and small machines: random views, smoothed labels, optionally a teacher whose softened
answers are learned beside the labels (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..augment import augment, normalise
from ..checkpoint import RGB, load_checkpoint
from ..datasets import Chips, hold_back, read_chips
from ..errors import FitError
from ..registry import PUBLISHED, build_network
from ..training.course import Described

if TYPE_CHECKING:
    from torch import Tensor, nn

RECIPES: Mapping[str, Mapping[str, Any]] = {"mobilenet_v2": {"lr": 4e-3}, "mobilenet_v3_large": {"lr": 4e-3}}
"""Where a network wants another setting of the training than ``Training`` has."""
EUROSAT = (
    "EuroSAT RGB subset, 6,000 train chips (MIT; modified Copernicus Sentinel data); "
    "Helber et al., IEEE JSTARS 12(7), 2019"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipsSettings:
    """How chips are shown and answers are graded."""

    batch: int = 64
    stem_stride: int = 2
    """1 makes the network see small tiles at twice the detail, at about four times the cost."""
    label_smoothing: float = 0.1
    shift_px: int = 4
    batch_norm_momentum: float = 0.1
    held_back: int = 600
    """Training chips kept out to choose the epoch."""
    teacher: str | None = None
    """A checkpoint whose softened answers are learned beside the labels."""
    teacher_weight: float = 0.7
    temperature: float = 2.0


def course(
    data: Path,
    *,
    size: str = PUBLISHED,
    seed: int = 7,
    network: str = "resnet18",
    cache: Path | None = None,
    **settings: Any,
) -> ChipsCourse:
    """The course on the folder ``data`` in EuroSAT's layout; ``settings`` are those of ``ChipsSettings``.

    With ``cache`` the decoded chips are kept there. Raises DatasetError, FitError, CheckpointError (teacher).
    """
    known = {field.name for field in fields(ChipsSettings)}
    if unknown := sorted(settings.keys() - known):
        raise FitError(
            f"The course of {network} has no setting {', '.join(unknown)}. Use some of {', '.join(sorted(known))}."
        )
    chosen = ChipsSettings(**settings)
    train, held = hold_back(read_chips(data, "train", cache=cache), chosen.held_back, seed=seed)
    return ChipsCourse(network, train, held, chosen, seed=seed, size=size, data=data, cache=cache)


class ChipsCourse:
    """Labelled chips; the test chips are read when they are looked at."""

    metric = "accuracy"

    def __init__(
        self,
        network: str,
        train: Chips,
        held: Chips,
        settings: ChipsSettings,
        *,
        seed: int = 7,
        size: str = PUBLISHED,
        data: Path | None = None,
        cache: Path | None = None,
    ) -> None:
        import torch

        self.network, self.size, self.settings = network, size, settings
        self._seed, self._data, self._cache, self.held, self._classes = seed, data, cache, held, train.classes
        self._edge_px, self._fitted_on = train.pixels.shape[2], train.name
        self._pixels, self._labels = torch.from_numpy(train.pixels), torch.from_numpy(train.labels)
        self.mean, self.std = band_statistics(train.pixels)
        self._teacher = None if settings.teacher is None else self._load_teacher(Path(settings.teacher))

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training that suit this network better than the usual ones."""
        return RECIPES.get(self.network, {})

    @property
    def switches(self) -> Mapping[str, Any]:
        """Classes and stem."""
        return {"classes": len(self._classes), "stem_stride": self.settings.stem_stride}

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the last one smaller."""
        return math.ceil(len(self._labels) / self.settings.batch)

    def build(self) -> nn.Module:
        """A fresh network, its weights in the order in which CPUs convolve fastest."""
        import torch

        network = build_network(self.network, size=self.size, **self.switches)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = self.settings.batch_norm_momentum
        return _channels_last(network)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised random views, (n, bands, edge, edge) float32, and labels, (n,) int64."""
        import torch

        generator = torch.Generator().manual_seed(self._seed * 100_003 + epoch)
        order = torch.randperm(len(self._labels), generator=generator)
        for index in torch.split(order, self.settings.batch):
            pixels = augment(self._pixels[index], shift_px=self.settings.shift_px, generator=generator)
            inputs = normalise(pixels, self.mean, self.std).contiguous(memory_format=torch.channels_last)
            yield inputs, self._labels[index]

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        """Cross-entropy with smoothed labels; with a teacher, weighed against the divergence from its answers."""
        import torch
        from torch.nn import functional

        inputs, labels = batch
        logits, t = network(inputs).float(), self.settings.temperature
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
        if self._teacher is None:
            return {"loss": loss}
        with torch.no_grad():
            taught = self._teacher.to(inputs.device)(inputs).float()
        soft = functional.kl_div(
            functional.log_softmax(logits / t, 1), functional.softmax(taught / t, 1), reduction="batchmean"
        )
        weight = self.settings.teacher_weight
        return {"loss": (1 - weight) * loss + weight * t * t * soft, "labels": loss, "teacher": soft}

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Top-1 on the chips held back."""
        return self._accuracy(network, self.held)

    def test(self, network: nn.Module) -> Mapping[str, float]:
        """Top-1 on the test chips."""
        return self._accuracy(network, self.tiles("test"))

    def describe(self) -> Described:
        """Classes and band statistics; licence and data are EuroSAT's where it is EuroSAT, else unknown."""
        is_eurosat = self._fitted_on.lower().startswith("eurosat")
        return Described(
            classes=self._classes,
            bands=RGB,
            edge_px=self._edge_px,
            mean=tuple(self.mean.tolist()),
            std=tuple(self.std.tolist()),
            dataset=EUROSAT if is_eurosat else self._fitted_on,
            licence="Apache-2.0" if is_eurosat else "",
            gsd_range_m=(8.0, 12.0),
            notes={"chips": asdict(self.settings), "held_back": self.held.name, "fitted_on": self._fitted_on},
        )

    def tiles(self, split: str) -> Chips:
        """The chips of ``train`` or ``test``."""
        if self._data is None:
            raise FitError("These chips came without a folder, so there are no others. Give the folder of the set.")
        return read_chips(self._data, split, cache=self._cache)

    def _accuracy(self, network: nn.Module, chips: Chips) -> Mapping[str, float]:
        right = predict(network, chips.pixels, self.mean, self.std) == chips.labels
        return {"accuracy": float(np.mean(right)), "n": len(chips)}

    def _load_teacher(self, path: Path) -> nn.Module:
        checkpoint = load_checkpoint(path)
        if checkpoint.classes != self._classes:
            raise FitError(
                f"The teacher {path} knows {checkpoint.classes}, the chips {self._classes}. Use another one."
            )
        return _channels_last(checkpoint.build())


def band_statistics(pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each band of (n, bands, rows, cols), in units of uint8 / 255."""
    import torch

    scaled = pixels.astype(np.float32) / 255.0
    mean, std = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3))
    return torch.from_numpy(mean), torch.from_numpy(np.maximum(std, 1e-3))


def predict(
    network: nn.Module, pixels: NDArray[np.uint8], mean: Tensor, std: Tensor, *, batch: int = 200
) -> NDArray[np.int64]:
    """The most probable class of each chip, as (n,) int64. Leaves the network in evaluation mode."""
    import torch

    network.eval()
    device = next(network.parameters()).device
    answers: list[NDArray[np.int64]] = []
    with torch.no_grad():
        for start in range(0, len(pixels), batch):
            inputs = normalise(torch.from_numpy(pixels[start : start + batch]), mean, std).to(device)
            answers.append(network(inputs.contiguous(memory_format=torch.channels_last)).argmax(1).cpu().numpy())
    return np.concatenate(answers)


def _channels_last(network: Any) -> nn.Module:
    import torch

    ordered: nn.Module = network.to(memory_format=torch.channels_last)
    return ordered
